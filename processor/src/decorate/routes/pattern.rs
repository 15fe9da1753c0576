//! Routes that the user wrote down: `/users/:id`, `/users/{id}/orders`, `/static/*`.
//!
//! `:name` and `{name}` stand for one segment, `*` for all that follows, also nothing. What is written out goes before `*`,
//! and `*` before a name, as in Beyla; where that leads nowhere, the next is tried.

use std::{collections::HashMap, sync::Arc};

/// The patterns as a tree of segments.
#[derive(Clone, Debug, Default)]
pub(super) struct Patterns {
    root: Node,
    is_empty: bool,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// The pattern that ends here.
    whole: Option<Arc<str>>,
    /// The pattern with a `*` here.
    any: Option<Arc<str>>,
    children: HashMap<Box<str>, Node>,
    /// What follows a `:name`.
    named: Option<Box<Node>>,
}

impl Patterns {
    pub(super) fn new(patterns: &[String]) -> Self {
        let mut root = Node::default();
        patterns.iter().for_each(|pattern| root.insert(pattern));
        Self { root, is_empty: patterns.is_empty() }
    }

    /// The pattern that `path` matches. Looks at each node of the tree once at most.
    pub(super) fn find(&self, path: &str) -> Option<&Arc<str>> {
        if self.is_empty {
            return None;
        }
        self.root.find(trimmed(path))
    }
}

/// Neither the first nor the last slash makes a segment.
fn trimmed(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    (!path.is_empty()).then_some(path)
}

/// The first segment, and what follows it.
fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)))
}

fn is_name(segment: &str) -> bool {
    let name = segment
        .strip_prefix(':')
        .or_else(|| segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')));
    name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

impl Node {
    fn insert(&mut self, pattern: &str) {
        let (mut node, mut rest) = (self, trimmed(pattern));
        while let Some(path) = rest {
            let (segment, after) = split(path);
            if segment == "*" {
                node.any = Some(pattern.into());
                return;
            }
            node = if is_name(segment) {
                node.named.get_or_insert_default()
            } else {
                node.children.entry(segment.into()).or_default()
            };
            rest = after;
        }
        node.whole = Some(pattern.into());
    }

    /// Deep as the longest pattern, however long the path is.
    fn find(&self, path: Option<&str>) -> Option<&Arc<str>> {
        let Some(path) = path else { return self.whole.as_ref().or(self.any.as_ref()) };
        let (segment, after) = split(path);
        let child = self.children.get(segment).and_then(|child| child.find(after));
        child.or(self.any.as_ref()).or_else(|| self.named.as_ref().and_then(|named| named.find(after)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(patterns: &[&str], path: &str) -> Option<String> {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        Patterns::new(&patterns).find(path).map(ToString::to_string)
    }

    #[test]
    fn each_form_of_a_pattern_matches_what_beyla_matches() {
        for (pattern, path, matches) in [
            ("/users/:id", "/users/42", true),
            ("/users/{id}", "/users/42", true),
            ("/users/{id}", "/users/42/", true),
            ("users/{id}/", "/users/42", true),
            ("/users/:id", "/users", false),
            ("/users/:id", "/users/", false),
            ("/users/:id", "/users/42/orders", false),
            ("/users/:id/orders", "/users/42/orders", true),
            ("/users/{}", "/users/42", true),
            ("/users/{user_id2}", "/users/42", true),
            ("/users/{id:[0-9]+}", "/users/42", false),
            ("/static/*", "/static/js/app.js", true),
            ("/static/*", "/static", true),
            ("/static/*", "/other", false),
            ("/*", "/", true),
            ("/a/*/c", "/a/b/d", true),
            ("/", "/", true),
            ("/", "/a", false),
            ("/a//b", "/a//b", true),
            ("/a", "/A", false),
        ] {
            assert_eq!(find(&[pattern], path), matches.then(|| pattern.to_owned()), "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_written_out_goes_before_a_star_and_that_before_a_name() {
        let patterns = ["/users/:id", "/users/me", "/files/*", "/files/:name/meta", "/files"];
        for (path, route) in [
            ("/users/me", "/users/me"),
            ("/users/you", "/users/:id"),
            ("/files/a/meta", "/files/*"),
            ("/files", "/files"),
            ("/files/", "/files"),
        ] {
            assert_eq!(find(&patterns, path).as_deref(), Some(route), "{path}");
        }
    }

    #[test]
    fn a_way_that_leads_nowhere_is_left_for_the_next() {
        let patterns = ["/users/me", "/users/{id}/orders", "/a/b/c", "/a/*"];
        assert_eq!(find(&patterns, "/users/me/orders").as_deref(), Some("/users/{id}/orders"));
        assert_eq!(find(&patterns, "/a/b/d").as_deref(), Some("/a/*"));
    }

    proptest! {
        #[test]
        fn any_path_is_matched_by_a_star_and_by_itself(path in "[ -~]{0,100}") {
            prop_assert!(find(&["/*"], &path).is_some());
            prop_assume!(!path.split('/').any(|segment| segment == "*" || is_name(segment)));
            prop_assert_eq!(find(&[&path], &path), Some(path));
        }
    }
}
