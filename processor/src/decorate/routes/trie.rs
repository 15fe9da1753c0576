//! Paths of one service that are kept few: a segment with more children than allowed becomes a wildcard.
//!
//! The first paths of a service are told as they are; from the child that is one too many on, all of them are one.

use std::collections::BTreeMap;

/// Segments that one service may make us keep. Children per segment are bounded too, but ten in each of ten levels
/// would be 10^10.
const MAX_NODES: usize = 2_048;

/// Segments as they were seen.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    root: Node,
    nodes: usize,
    max_children: usize,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: BTreeMap<Box<str>, Node>,
    /// Its one child stands for all.
    rest: Option<Box<Node>>,
}

impl Trie {
    /// A segment may have `max_children` different ones after it.
    pub(super) fn new(max_children: usize) -> Self {
        Self { root: Node::default(), nodes: 0, max_children }
    }

    /// Appends `path`, which has few segments, with `wildcard` where there are too many of a kind.
    pub(super) fn append(&mut self, out: &mut String, path: &str, wildcard: &str) {
        let Self { root, nodes, max_children } = self;
        let mut node = Some(root);
        for (n, segment) in path.split('/').enumerate() {
            if n > 0 {
                out.push('/');
            }
            if segment.is_empty() {
                continue;
            }
            let (kept, next) = match node {
                Some(node) => node.step(segment, nodes, *max_children),
                None => (false, None),
            };
            out.push_str(if kept { segment } else { wildcard });
            node = next;
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.root.len() - 1
    }
}

impl Node {
    /// The node of `segment`, and whether the segment keeps its name there. `None`: there is no room to look further.
    fn step(&mut self, segment: &str, nodes: &mut usize, max_children: usize) -> (bool, Option<&mut Self>) {
        let is_known = self.children.contains_key(segment);
        if !is_known && self.rest.is_none() && self.children.len() >= max_children {
            self.collapse(nodes, max_children);
        }
        if let Some(rest) = &mut self.rest {
            return (false, Some(rest));
        }
        if !is_known {
            if *nodes >= MAX_NODES {
                return (false, None);
            }
            *nodes += 1;
        }
        (true, Some(self.children.entry(segment.into()).or_default()))
    }

    /// All children become one, which has their children.
    fn collapse(&mut self, nodes: &mut usize, max_children: usize) {
        let before = self.len();
        let mut rest = self.rest.take().unwrap_or_default();
        std::mem::take(&mut self.children).into_values().for_each(|child| rest.merge(child));
        rest.settle(max_children);
        self.rest = Some(rest);
        *nodes = nodes.saturating_add(self.len()).saturating_sub(before);
    }

    /// Takes what `other` has.
    fn merge(&mut self, other: Self) {
        if let Some(rest) = other.rest {
            self.rest.get_or_insert_default().merge(*rest);
        }
        for (segment, child) in other.children {
            self.children.entry(segment).or_default().merge(child);
        }
    }

    /// Collapses what a merge made too wide.
    fn settle(&mut self, max_children: usize) {
        if self.rest.is_some() || self.children.len() > max_children {
            let mut rest = self.rest.take().unwrap_or_default();
            std::mem::take(&mut self.children).into_values().for_each(|child| rest.merge(child));
            self.rest = Some(rest);
        }
        self.children.values_mut().for_each(|child| child.settle(max_children));
        if let Some(rest) = &mut self.rest {
            rest.settle(max_children);
        }
    }

    fn len(&self) -> usize {
        1 + self.children.values().map(Self::len).sum::<usize>()
            + self.rest.as_ref().map_or(0, |rest| rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn insert(trie: &mut Trie, path: &str) -> String {
        let mut out = String::new();
        trie.append(&mut out, path, "*");
        out
    }

    #[test]
    fn one_child_too_many_makes_all_of_them_one() {
        let mut trie = Trie::new(2);
        for (path, told) in [
            ("/u/ann/posts", "/u/ann/posts"),
            ("/u/bob/likes", "/u/bob/likes"),
            ("/u/ann/posts", "/u/ann/posts"),
            ("/u/eve/posts", "/u/*/posts"),
            ("/u/ann/posts", "/u/*/posts"),
            ("/u/ann/likes", "/u/*/likes"),
            ("/u/ann/other", "/u/*/*"),
            ("/u/ann/posts/", "/u/*/*/"),
            ("/v", "/v"),
            ("/w", "/*"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(insert(&mut trie, path), told, "{path}");
        }
    }

    #[test]
    fn a_full_tree_keeps_what_it_knows_and_nothing_else() {
        let mut trie = Trie::new(1_000);
        for n in 0..MAX_NODES {
            insert(&mut trie, &format!("/{}/{n}", n % 900));
        }
        assert_eq!((trie.nodes, trie.len()), (MAX_NODES, MAX_NODES));
        assert_eq!(insert(&mut trie, "/0/0"), "/0/0");
        assert_eq!(insert(&mut trie, "/0/new/x"), "/0/*/*");
    }

    proptest! {
        #[test]
        fn there_are_never_more_than_allowed_and_the_count_is_right(
            paths in prop::collection::vec("(/[a-e]{1,2}){1,5}", 1..300),
            max in 1..6_usize,
        ) {
            let mut trie = Trie::new(max);
            paths.iter().for_each(|path| { insert(&mut trie, path); });
            prop_assert_eq!(trie.len(), trie.nodes);
            let told: BTreeSet<String> = paths.iter().map(|path| insert(&mut trie, path)).collect();
            let first: BTreeSet<&str> = told.iter().filter_map(|path| path.split('/').nth(1)).collect();
            prop_assert!(first.len() <= max, "{:?}", first);
        }
    }
}
