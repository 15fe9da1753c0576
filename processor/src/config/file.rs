//! A configuration file: YAML to a tree whose every value knows its line, with `${VARIABLE}` replaced.

use super::ConfigError;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::{collections::HashMap, fs::File, io::Read, path::Path};

/// Bytes of a file: a hundred times what anybody wrote so far.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// Values in a file, aliases counted as often as they are used.
const MAX_NODES: usize = 65_536;
/// Sections within sections: the deepest key has six.
const MAX_DEPTH: usize = 32;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Counted from 1; of a value in a section, the line of its key.
    pub(super) line: usize,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// Nothing: as if the key were not there.
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Content {
    /// For people.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "one value",
            Self::List(_) => "a list",
            Self::Map(_) => "a section",
        }
    }
}

/// What is wrong, and in which line.
type Fault = (usize, String);

/// Reads the file at `path`; `lookup` gives the value of a variable.
pub(super) fn read(path: &Path, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Node, ConfigError> {
    let text = text(path).map_err(|problem| ConfigError::in_file(path.display().to_string(), problem))?;
    parse(&text, lookup)
        .map_err(|(line, problem)| ConfigError::in_file(format!("{}:{line}", path.display()), problem))
}

fn text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("the configuration file can't be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err("the configuration must be a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > MAX_FILE_BYTES) {
        return Err(format!("the configuration file has more than {MAX_FILE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "the configuration file is not UTF-8".to_owned())
}

/// A list or section that is being read.
struct Open {
    line: usize,
    anchor: usize,
    /// The key whose value comes next, for a section, and its line.
    key: Option<(String, usize)>,
    content: Content,
}

/// Puts a tree together from the parser's events.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    root: Option<Node>,
    nodes: usize,
}

/// Reads YAML. An empty document is an empty section.
pub(super) fn parse(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Node, Fault> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| (error.marker().line(), format!("not YAML: {}", error.info())))?;
        builder.event(event, span, lookup)?;
    }
    Ok(builder.root.unwrap_or(Node { line: 1, content: Content::Null }))
}

impl Builder {
    fn event(
        &mut self,
        event: Event<'_>,
        span: Span,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Fault> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, _) => self.scalar(&text, style, anchor, line, lookup),
            Event::SequenceStart(anchor, _) => self.begin(line, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.begin(line, anchor, Content::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node =
                    node.ok_or_else(|| (line, "this alias stands for nothing, or for itself".to_owned()))?;
                self.count(size(&node), line)?;
                self.put(node)
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                Err((line, "there is a second document".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        line: usize,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Fault> {
        self.count(1, line)?;
        let value = substitute(text, lookup).map_err(|problem| (line, problem))?;
        let is_null =
            style == ScalarStyle::Plain && matches!(value.as_str(), "" | "~" | "null" | "Null" | "NULL");
        let content = if is_null { Content::Null } else { Content::Scalar(value) };
        let node = Node { line, content };
        self.remember(anchor, &node);
        self.put(node)
    }

    fn begin(&mut self, line: usize, anchor: usize, content: Content) -> Result<(), Fault> {
        self.count(1, line)?;
        if self.open.len() >= MAX_DEPTH {
            return Err((line, format!("more than {MAX_DEPTH} sections within each other")));
        }
        self.open.push(Open { line, anchor, key: None, content });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let node = Node { line: open.line, content: open.content };
        self.remember(open.anchor, &node);
        self.put(node)
    }

    fn count(&mut self, nodes: usize, line: usize) -> Result<(), Fault> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES { Err((line, format!("more than {MAX_NODES} values"))) } else { Ok(()) }
    }

    fn remember(&mut self, anchor: usize, node: &Node) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    fn put(&mut self, node: Node) -> Result<(), Fault> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.content {
            Content::List(list) => list.push(node),
            Content::Map(map) => match open.key.take() {
                // people look for the key, wherever its value begins
                Some((key, line)) => map.push((key, Node { line, ..node })),
                None => open.key = Some(new_key(map, node)?),
            },
            Content::Null | Content::Scalar(_) => {}
        }
        Ok(())
    }
}

fn new_key(map: &[(String, Node)], node: Node) -> Result<(String, usize), Fault> {
    match node.content {
        Content::Scalar(key) if map.iter().any(|(known, _)| *known == key) => {
            Err((node.line, format!("{key} stands twice in its section")))
        }
        Content::Scalar(key) => Ok((key, node.line)),
        _ => Err((node.line, "a key must be one word".to_owned())),
    }
}

/// Values in it. Its depth is bounded by [`MAX_DEPTH`], aliases included twice over.
fn size(node: &Node) -> usize {
    let mut waiting = vec![node];
    let mut count = 0;
    while let Some(node) = waiting.pop() {
        count += 1;
        match &node.content {
            Content::List(list) => waiting.extend(list),
            Content::Map(map) => waiting.extend(map.iter().map(|(_, node)| node)),
            Content::Null | Content::Scalar(_) => {}
        }
    }
    count
}

/// Replaces `${NAME}` and `${NAME:-default}`; a variable that is not set or empty is its default, else nothing.
fn substitute(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, after) = after.split_once('}').ok_or("${ without }")?;
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        out.push_str(before);
        let value = lookup(name).filter(|value| !value.is_empty());
        out.push_str(value.as_deref().unwrap_or(default));
        rest = after;
        if out.len() > usize::try_from(MAX_FILE_BYTES).unwrap_or(usize::MAX) {
            return Err("too long with its variables".to_owned());
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
