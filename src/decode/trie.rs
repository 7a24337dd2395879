//! Words as a tree of their beginnings, over keys that forget letter case if they are told to.

use std::collections::HashMap;

use crate::charset::{Charset, longest, segment};

/// Which classes count as the same.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// The key of every class; the blank's is never asked for.
    of_class: Vec<u32>,
    by_symbol: HashMap<String, u32>,
    /// Code points of the longest symbol.
    longest: usize,
    ignore_case: bool,
}

impl Keys {
    pub(super) fn new(charset: &Charset, ignore_case: bool) -> Self {
        let mut by_symbol = HashMap::with_capacity(charset.len());
        let mut of_class = vec![0; charset.classes()];
        for (symbol, key) in charset.symbols().iter().zip(&mut of_class[1..]) {
            let symbol = if ignore_case { symbol.to_lowercase() } else { symbol.clone() };
            let next = by_symbol.len() as u32 + 1;
            *key = *by_symbol.entry(symbol).or_insert(next);
        }
        let longest = longest(by_symbol.keys());
        Keys { of_class, by_symbol, longest, ignore_case }
    }

    /// The key of a class; beyond the charset, one that no word holds.
    pub(super) fn of(&self, class: usize) -> u32 {
        self.of_class.get(class).copied().unwrap_or(0)
    }

    /// A word's keys, the longest symbols first; `None` if it holds anything else.
    fn of_word(&self, word: &str) -> Option<Vec<u32>> {
        let find = |part: &str| self.by_symbol.get(part).copied();
        let lower_case = self.ignore_case.then(|| word.to_lowercase());
        segment(lower_case.as_deref().unwrap_or(word), self.longest, find).ok()
    }

    /// The words in keys, each with its place in the list, and the words that hold a symbol that
    /// no key stands for.
    pub(super) fn of_words<S: AsRef<str>>(
        &self,
        words: &[S],
    ) -> (Vec<(Vec<u32>, usize)>, Vec<String>) {
        let mut known = Vec::with_capacity(words.len());
        let mut unknown = Vec::new();
        for (place, word) in words.iter().enumerate() {
            match self.of_word(word.as_ref()) {
                Some(keys) => known.push((keys, place)),
                None => unknown.push(word.as_ref().to_owned()),
            }
        }
        (known, unknown)
    }
}

/// A tree of beginnings; node 0 is the empty one, and parents come before children.
#[derive(Debug, Clone)]
pub(super) struct Trie {
    /// Where the edges of every node begin, and one more.
    first_edge: Vec<u32>,
    /// Key and child, in the order of keys within a node.
    edges: Vec<(u32, u32)>,
    terminal: Vec<bool>,
}

impl Trie {
    pub(super) const ROOT: u32 = 0;

    pub(super) fn new(mut words: Vec<Vec<u32>>) -> Self {
        words.sort_unstable();
        words.dedup();
        // Breadth first: a node is the words of a range that begin alike.
        let mut ranges = vec![(0, words.len(), 0)];
        let mut trie = Trie { first_edge: vec![0], edges: Vec::new(), terminal: Vec::new() };
        let mut node = 0;
        while let Some(&(mut start, end, depth)) = ranges.get(node) {
            let ends_here = start < end && words[start].len() == depth;
            trie.terminal.push(ends_here);
            start += usize::from(ends_here);
            while start < end {
                let key = words[start][depth];
                let alike = words[start..end].partition_point(|word| word[depth] == key);
                trie.edges.push((key, ranges.len() as u32));
                ranges.push((start, start + alike, depth + 1));
                start += alike;
            }
            trie.first_edge.push(trie.edges.len() as u32);
            node += 1;
        }
        trie
    }

    /// The number of nodes.
    pub(super) fn len(&self) -> usize {
        self.terminal.len()
    }

    pub(super) fn is_word(&self, node: u32) -> bool {
        self.terminal[node as usize]
    }

    pub(super) fn edges(&self, node: u32) -> &[(u32, u32)] {
        let node = node as usize;
        &self.edges[self.first_edge[node] as usize..self.first_edge[node + 1] as usize]
    }

    pub(super) fn child(&self, node: u32, key: u32) -> Option<u32> {
        let edges = self.edges(node);
        let at = edges.binary_search_by_key(&key, |edge| edge.0).ok()?;
        Some(edges[at].1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_what_it_was_given(
            words in prop::collection::vec(prop::collection::vec(1u32..4, 0..5), 0..20),
            other in prop::collection::vec(1u32..4, 0..5),
        ) {
            let trie = Trie::new(words.clone());
            let node = |keys: &[u32]| {
                keys.iter().try_fold(Trie::ROOT, |node, &key| trie.child(node, key))
            };
            for word in words.iter().chain([&other]) {
                let found = node(word).is_some_and(|node| trie.is_word(node));
                prop_assert_eq!(found, words.contains(word));
                let begins = words.iter().any(|w| w.starts_with(word));
                prop_assert!(node(word).is_some() == begins || word.is_empty());
            }
        }
    }

    #[test]
    fn keys() {
        let charset = Charset::new(["a", "A", "ch", "c", "h", "É", "é"]).unwrap();
        let exact = Keys::new(&charset, false);
        let (known, unknown) = exact.of_words(&["Aché", "b", "chch"]);
        assert_eq!(known, [(vec![2, 3, 7], 0), (vec![3, 3], 2)]);
        assert_eq!(unknown, ["b"]);
        let folded = Keys::new(&charset, true);
        assert_eq!(folded.of(1), folded.of(2));
        assert_eq!(folded.of(6), folded.of(7));
        assert_eq!(folded.of_word("ACHÉ"), folded.of_word("aché"));
        assert_eq!(folded.of(99), 0);
    }
}
