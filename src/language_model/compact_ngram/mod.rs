//! N-gram models in about a byte and a half an n-gram: docs/ngram_format.md describes the file.

mod format;

use std::ops::Range;
use std::path::Path;

use super::ngram::Ngram;
use crate::error::{LanguageModelError, Result};
use crate::files;

/// Steps of log-probabilities and backoffs in nats.
const STEP: f32 = 0.25;
/// The code of a backoff of 0: pruned models have positive ones as well.
const NO_BACKOFF: u8 = 32;
/// The longest file in bytes: far more than the most n-grams take.
const MAX_FILE: u64 = 1 << 28;
/// What a symbol costs that no n-gram ends in, in nats.
const UNSEEN: f32 = 30.0;

/// An n-gram model with backoff whose log-probabilities are rounded to 1/4 nat: made of an
/// [`Ngram`], smaller and quicker to open.
#[derive(Debug, Clone)]
pub struct CompactNgram {
    order: usize,
    vocabulary: Vec<String>,
    /// The tokens' numbers, in the order of the tokens as texts.
    sorted: Vec<u16>,
    /// A node an n-gram, by order; those of one history are neighbours, in the order of tokens.
    /// Node 0 is the empty history; the last node is none, and ends the children of the one before.
    nodes: Vec<Node>,
    /// The first node of the highest order.
    first_of_highest: u32,
    begin: Option<u16>,
    end: Option<u16>,
    unknown: Option<u16>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    /// Its children end where those of the next node begin.
    first_child: u32,
    /// The node of the longest proper ending that the model holds.
    suffix: u32,
    token: u16,
    /// The negative log-probability in steps.
    cost: u8,
    /// The backoff's negative logarithm in steps, plus [`NO_BACKOFF`].
    backoff: u8,
}

impl CompactNgram {
    /// What the file begins with; a byte for the version comes behind.
    pub(crate) const MAGIC: [u8; 7] = *b"svtrlm\0";

    /// Rounds a model.
    ///
    /// # Errors
    /// [`LanguageModelError::Compact`] if it has more than 65 535 tokens, one of more than 255 bytes,
    /// or more than 2^24 n-grams.
    pub fn new(model: &Ngram) -> Result<Self> {
        Self::from_bytes(&format::encode(model)?)
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// As [`CompactNgram::new`].
    pub fn encode(model: &Ngram) -> Result<Vec<u8>> {
        format::encode(model)
    }

    /// Opens a compact model.
    ///
    /// # Errors
    /// [`LanguageModelError::Io`]; as [`CompactNgram::from_bytes`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = files::read(path, MAX_FILE)
            .map_err(|source| LanguageModelError::Io { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes)
    }

    /// Reads the bytes of a compact model.
    ///
    /// # Errors
    /// [`LanguageModelError::Compact`] if they are damaged or something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        format::decode(bytes)
            .map_err(|detail| LanguageModelError::Compact { detail: detail.to_owned() }.into())
    }

    /// The order: 5 for a model that looks back four tokens.
    pub fn order(&self) -> usize {
        self.order
    }

    /// The tokens, `<s>`, `</s>` and `<unk>` included.
    pub fn vocabulary(&self) -> &[String] {
        &self.vocabulary
    }

    /// The n-grams of all orders.
    pub fn grams(&self) -> usize {
        self.nodes.len() - 2
    }

    /// The token's number; the unknown token's if the model has not seen it.
    pub(super) fn token(&self, token: &str) -> Option<u16> {
        find(&self.vocabulary, &self.sorted, token).or(self.unknown)
    }

    /// The history of a text that has not begun.
    pub(super) fn start(&self) -> u32 {
        self.begin.and_then(|begin| self.child(0, begin)).unwrap_or(0)
    }

    /// The natural-log probability of a token behind a history, and the history behind it.
    pub(super) fn advance(&self, mut history: u32, token: Option<u16>) -> (f32, u32) {
        let Some(token) = token else {
            return (-UNSEEN, 0);
        };
        let mut steps = 0;
        loop {
            if let Some(node) = self.child(history, token) {
                let Node { cost, suffix, .. } = self.nodes[node as usize];
                let next = if node >= self.first_of_highest { suffix } else { node };
                return (-STEP * (steps + i32::from(cost)) as f32, next);
            }
            if history == 0 {
                return (-STEP * steps as f32 - UNSEEN, 0);
            }
            let Node { backoff, suffix, .. } = self.nodes[history as usize];
            steps += i32::from(backoff) - i32::from(NO_BACKOFF);
            history = suffix;
        }
    }

    /// The natural-log probability of the end behind a history; 0 for a model without an end.
    pub(super) fn finish(&self, history: u32) -> f32 {
        if self.end.is_some() { self.advance(history, self.end).0 } else { 0.0 }
    }

    fn children(&self, node: u32) -> Range<u32> {
        self.nodes[node as usize].first_child..self.nodes[node as usize + 1].first_child
    }

    fn child(&self, node: u32, token: u16) -> Option<u32> {
        let children = self.children(node);
        let nodes = &self.nodes[children.start as usize..children.end as usize];
        let at = nodes.binary_search_by_key(&token, |node| node.token).ok()?;
        Some(children.start + at as u32)
    }
}

/// The number of a token; of equal ones the first.
fn find(vocabulary: &[String], sorted: &[u16], token: &str) -> Option<u16> {
    let at = sorted.partition_point(|&number| vocabulary[usize::from(number)].as_str() < token);
    sorted.get(at).copied().filter(|&number| vocabulary[usize::from(number)] == token)
}

impl CompactNgram {
    /// Finds every node's longest proper ending. Parents come first: theirs is known.
    fn link_suffixes(&mut self) {
        for parent in 1..self.nodes.len() as u32 - 1 {
            let suffix = self.nodes[parent as usize].suffix;
            // The children of the shorter history are in the order of tokens as well.
            let Range { start: mut at, end } = self.children(suffix);
            for child in self.children(parent) {
                let token = self.nodes[child as usize].token;
                while at < end && self.nodes[at as usize].token < token {
                    at += 1;
                }
                let found = at < end && self.nodes[at as usize].token == token;
                let ending = if found { at } else { self.ending(suffix, token) };
                self.nodes[child as usize].suffix = ending;
            }
        }
    }

    /// The node of the token behind the longest proper ending of a history that has it.
    fn ending(&self, mut history: u32, token: u16) -> u32 {
        while history != 0 {
            history = self.nodes[history as usize].suffix;
            if let Some(node) = self.child(history, token) {
                return node;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::super::ngram::MAX_ORDER;
    use super::*;
    use crate::charset::Charset;

    pub(super) fn words() -> Vec<(&'static str, u64)> {
        vec![("hotel", 5), ("hostel", 2), ("motel", 1), ("tell", 3), ("ee", 1), ("lot", 2)]
    }

    pub(super) fn model(order: usize) -> Ngram {
        Ngram::from_words(&Charset::english(), &words(), order).unwrap()
    }

    pub(super) fn score(model: &CompactNgram, text: &str) -> f32 {
        let mut sum = 0.0;
        let mut history = model.start();
        for symbol in text.chars() {
            let (log_prob, next) = model.advance(history, model.token(&symbol.to_string()));
            sum += log_prob;
            history = next;
        }
        sum + model.finish(history)
    }

    #[test]
    fn as_the_model_it_is_made_of() {
        for order in 1..=MAX_ORDER {
            let exact = model(order);
            let compact = CompactNgram::new(&exact).unwrap();
            let grams: usize = (1..=order).map(|order| exact.count(order)).sum();
            assert_eq!(compact.grams(), grams);
            assert_eq!(compact.order(), order);
            for text in ["hotel", "hot", "telephone", "lll", "", "motelhostel", "x"] {
                let symbols: Vec<String> = text.chars().map(String::from).collect();
                let expected = exact.score(&symbols);
                // A symbol's probability and up to `order` backoffs, each 1/8 off at most.
                let most = 0.1251 * ((text.len() + 1) * order) as f64;
                let off = (f64::from(score(&compact, text)) - expected).abs();
                assert!(off <= most, "order {order}, {text:?}: {off} off");
            }
        }
    }
}
