//! The prefixes of a search: a tree of texts, and the few that are in the beam.

use std::cmp::Ordering;

use super::super::ctc::log_add;
use super::super::lexicon::LexiconState;
use crate::language_model::LmState;

/// An index of a node or a place in the beam that there is not.
pub(super) const NONE: u32 = u32::MAX;

/// A prefix, in the tree of all prefixes that were in the beam. Node 0 is the empty one.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) parent: u32,
    pub(super) first_child: u32,
    pub(super) next_sibling: u32,
    /// Its place in the beam.
    pub(super) slot: u32,
    pub(super) class: u32,
    pub(super) constraint: ConstraintState,
}

/// The state and the score of what constrains the search, after a prefix.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConstraintState {
    /// What is added to the log-probability.
    pub(super) bonus: f64,
    pub(super) lm: LmState,
    pub(super) lexicon: LexiconState,
    pub(super) hot: u32,
}

/// A prefix in the beam, with the log-probabilities of its alignments so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) node: u32,
    /// Of those that end in a blank.
    pub(super) blank: f64,
    /// Of those that end in its last symbol.
    pub(super) symbol: f64,
}

impl Entry {
    /// Of all of them.
    pub(super) fn total(&self) -> f64 {
        log_add(self.blank, self.symbol)
    }
}

/// What may be in the beam after a frame: a prefix of the beam before it, or one symbol more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) key: f64,
    pub(super) blank: f64,
    pub(super) symbol: f64,
    /// The node, or that of the prefix before the new symbol.
    pub(super) node: u32,
    /// The new symbol and the constraints after it.
    pub(super) added: Option<(u32, ConstraintState)>,
}

impl Candidate {
    /// The better one first; no two are equal, so that the order never depends on how it is made.
    pub(super) fn order(a: &Candidate, b: &Candidate) -> Ordering {
        let name = |c: &Candidate| (c.node, c.added.map(|(class, _)| class));
        b.key.total_cmp(&a.key).then_with(|| name(a).cmp(&name(b)))
    }
}

/// Buffers that the frames share.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) classes: Vec<(u32, f32)>,
    pub(super) candidates: Vec<Candidate>,
    /// Prefixes in the beam whose parent is there too: the parent's place, and their last class.
    pub(super) children: Vec<(u32, u32)>,
}

/// The node of a prefix and one symbol more: the one that is there, or a new one.
pub(super) fn child(
    nodes: &mut Vec<Node>,
    parent: u32,
    class: u32,
    constraint: ConstraintState,
) -> u32 {
    let mut next = nodes[parent as usize].first_child;
    while let Some(node) = nodes.get(next as usize) {
        if node.class == class {
            return next;
        }
        next = node.next_sibling;
    }
    let index = nodes.len() as u32;
    let next_sibling = std::mem::replace(&mut nodes[parent as usize].first_child, index);
    nodes.push(Node { parent, first_child: NONE, next_sibling, slot: NONE, class, constraint });
    index
}
