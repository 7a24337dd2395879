//! Words as a tree of their prefixes (a trie), over keys that may ignore letter case.

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
    /// [`Charset::fingerprint`].
    fingerprint: u64,
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
        let fingerprint = charset.fingerprint();
        Keys { of_class, by_symbol, longest, ignore_case, fingerprint }
    }

    /// The key of a class; beyond the charset, one that no word holds.
    pub(super) fn of(&self, class: usize) -> u32 {
        self.of_class.get(class).copied().unwrap_or(0)
    }

    /// The keys, and 0, which no word holds.
    pub(super) fn count(&self) -> usize {
        self.by_symbol.len() + 1
    }

    /// The classes of the charset, the blank included.
    pub(super) fn classes(&self) -> usize {
        self.of_class.len()
    }

    /// The fingerprint of the charset.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// For every key, how many of its classes are permitted.
    pub(super) fn permitted(&self, permitted: impl Fn(usize) -> bool) -> Vec<u32> {
        let mut counts = vec![0; self.count()];
        for (class, &key) in self.of_class.iter().enumerate().skip(1) {
            counts[key as usize] += u32::from(permitted(class));
        }
        counts
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

/// A tree of prefixes; node 0 is the empty one, and parents come before children.
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

    /// Of every node: the fewest frames from there to the end of a word, after a blank and after
    /// the node's own symbol; `u16::MAX` if there is no end. A key counts only if it has permitted
    /// classes, and a repeated one takes a blank more if it has only one.
    pub(super) fn frames_to_end(&self, permitted: &[u32]) -> Vec<[u16; 2]> {
        let mut needed = vec![[u16::MAX; 2]; self.len()];
        // The shortest way from a node, whose own key is given.
        let fewest = |needed: &[[u16; 2]], node: u32, own: u32| {
            if self.is_word(node) {
                return [0; 2];
            }
            let mut found = [u16::MAX; 2];
            for &(key, child) in self.edges(node) {
                let count = permitted.get(key as usize).copied().unwrap_or(0);
                if count > 0 {
                    let rest = needed[child as usize][1].saturating_add(1);
                    let repeated = u16::from(key == own && count == 1);
                    found[0] = found[0].min(rest);
                    found[1] = found[1].min(rest.saturating_add(repeated));
                }
            }
            found
        };
        // Children come behind their parents.
        for parent in (0..self.len() as u32).rev() {
            for &(key, child) in self.edges(parent) {
                needed[child as usize] = fewest(&needed, child, key);
            }
        }
        needed[Self::ROOT as usize] = fewest(&needed, Self::ROOT, 0);
        needed
    }

    /// Of `count` keys, which of them the words hold.
    pub(super) fn keys(&self, count: usize) -> Vec<bool> {
        let mut occurs = vec![false; count];
        for &(key, _) in &self.edges {
            occurs[key as usize] = true;
        }
        occurs
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
    fn fewest_frames() {
        // "ab", "aab" and "cc": c is not permitted, a has one class, b has two.
        let trie = Trie::new(vec![vec![1, 2], vec![1, 1, 1, 2], vec![3, 3]]);
        let needed = trie.frames_to_end(&[0, 1, 2, 0]);
        assert_eq!(needed[0], [2, 2]);
        let a = trie.child(Trie::ROOT, 1).unwrap();
        assert_eq!(needed[a as usize], [1, 1]);
        let aa = trie.child(a, 1).unwrap();
        // Another a, then b; a blank first, unless one was before.
        assert_eq!(needed[aa as usize], [2, 3]);
        let c = trie.child(Trie::ROOT, 3).unwrap();
        assert_eq!(needed[c as usize], [u16::MAX; 2]);
        assert_eq!(trie.frames_to_end(&[0; 4])[0], [u16::MAX; 2]);
        assert_eq!(Trie::new(vec![vec![]]).frames_to_end(&[])[0], [0, 0]);
        assert_eq!(Trie::new(vec![]).frames_to_end(&[])[0], [u16::MAX; 2]);
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
