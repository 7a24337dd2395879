//! N-gram models with backoff, and a character model made of one.

use std::collections::HashMap;
use std::sync::Arc;

use super::{LanguageModel, LmState};
use crate::charset::Charset;

/// The highest order of an n-gram model.
pub const MAX_ORDER: usize = 8;

/// Tokens of an n-gram in order; those beyond its length are 0.
pub(super) type Gram = [u32; MAX_ORDER];

pub(super) const BEGIN: &str = "<s>";
pub(super) const END: &str = "</s>";
pub(super) const UNKNOWN: &str = "<unk>";

/// The log10 probability of a token that the model does not know, if it has no entry for those.
const UNKNOWN_LOG10: f32 = -100.0;

/// An n-gram and what the model says of it, in logarithms to the base 10.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry {
    pub(super) gram: Gram,
    /// Of the last token behind the others.
    pub(super) log10_prob: f32,
    /// Of going back to a shorter history when the whole n-gram is one.
    pub(super) backoff: f32,
}

/// An n-gram model with backoff (Katz, 1987), over tokens of any kind: symbols or words.
///
/// Probabilities are logarithms to the base 10 inside, as in ARPA files; [`Ngram::score`] and
/// [`SymbolLm`] give natural ones.
#[derive(Debug, Clone)]
pub struct Ngram {
    vocabulary: Vec<String>,
    tokens: HashMap<String, u32>,
    order: usize,
    /// Of nodes, the first of every order; node 0 is the empty history, of order 0.
    first_of_order: Vec<u32>,
    nodes: Vec<Node>,
    /// Token and node behind it, a range of every node's, in the order of tokens.
    edges: Vec<(u32, u32)>,
    begin: Option<u32>,
    end: Option<u32>,
    unknown: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    log10_prob: f32,
    backoff: f32,
    /// The node of the longest proper ending that the model holds.
    suffix: u32,
    first_edge: u32,
    edges: u32,
}

impl Ngram {
    /// From entries by order; each order's n-grams differ and are sorted, and every history is
    /// there.
    pub(super) fn from_entries(vocabulary: Vec<String>, orders: &[Vec<Entry>]) -> Self {
        let order = orders.len();
        let root = Node { log10_prob: 0.0, backoff: 0.0, suffix: 0, first_edge: 0, edges: 0 };
        let mut nodes = vec![root];
        let mut first_of_order = vec![0];
        let mut edges = Vec::new();
        for (length, entries) in (1..).zip(orders) {
            first_of_order.push(nodes.len() as u32);
            let shorter = if length == 1 { &[][..] } else { &orders[length - 2][..] };
            for entry in entries {
                let mut history = entry.gram;
                let token = std::mem::take(&mut history[length - 1]);
                let parent = match shorter.binary_search_by(|other| other.gram.cmp(&history)) {
                    Ok(at) => first_of_order[length - 1] as usize + at,
                    Err(_) => 0,
                };
                // Sorted n-grams: those of one history are neighbours.
                if nodes[parent].edges == 0 {
                    nodes[parent].first_edge = edges.len() as u32;
                }
                nodes[parent].edges += 1;
                edges.push((token, nodes.len() as u32));
                let Entry { log10_prob, backoff, .. } = *entry;
                nodes.push(Node { log10_prob, backoff, suffix: 0, first_edge: 0, edges: 0 });
            }
        }
        first_of_order.push(nodes.len() as u32);
        let tokens: HashMap<String, u32> =
            vocabulary.iter().enumerate().map(|(i, token)| (token.clone(), i as u32)).collect();
        let find = |name: &str| tokens.get(name).copied();
        let (begin, end) = (find(BEGIN), find(END));
        let unknown = find(UNKNOWN).or_else(|| find("<UNK>"));
        let mut model =
            Ngram { vocabulary, tokens, order, first_of_order, nodes, edges, begin, end, unknown };
        for parent in 1..model.nodes.len() as u32 {
            // Parents come first: their own suffix is known.
            for at in model.edges_of(parent) {
                let (token, node) = model.edges[at];
                let mut shorter = parent;
                while shorter != 0 {
                    shorter = model.nodes[shorter as usize].suffix;
                    if let Some(suffix) = model.edge(shorter, token) {
                        model.nodes[node as usize].suffix = suffix;
                        break;
                    }
                }
            }
        }
        model
    }

    /// The entries by order, as they were given.
    pub(super) fn entries(&self) -> Vec<Vec<Entry>> {
        let mut orders: Vec<Vec<Entry>> = vec![Vec::new(); self.order];
        let mut grams: Vec<Gram> = vec![[0; MAX_ORDER]; self.nodes.len()];
        for length in 1..=self.order {
            for parent in self.first_of_order[length - 1]..self.first_of_order[length] {
                for at in self.edges_of(parent) {
                    let (token, node) = self.edges[at];
                    let mut gram = grams[parent as usize];
                    gram[length - 1] = token;
                    grams[node as usize] = gram;
                    let Node { log10_prob, backoff, .. } = self.nodes[node as usize];
                    orders[length - 1].push(Entry { gram, log10_prob, backoff });
                }
            }
        }
        orders
    }

    /// The share of every node as a history of the tokens of sequences with counts, their ends
    /// included.
    pub(super) fn history_shares<'a, T>(
        &self,
        sequences: impl IntoIterator<Item = (T, u64)>,
    ) -> Vec<f64>
    where
        T: IntoIterator<Item = &'a str>,
    {
        let mut counts = vec![0; self.nodes.len()];
        let mut count_all = |mut history: u32, count: u64| {
            loop {
                let sum: &mut u64 = &mut counts[history as usize];
                *sum = sum.saturating_add(count);
                if history == 0 {
                    break;
                }
                history = self.nodes[history as usize].suffix;
            }
        };
        let mut total = 0;
        for (sequence, count) in sequences {
            let mut history = self.start();
            for token in sequence {
                count_all(history, count);
                total = count.saturating_add(total);
                history = self.advance(history, self.token(token)).1;
            }
            count_all(history, count);
            total = count.saturating_add(total);
        }
        counts.into_iter().map(|count| count as f64 / total.max(1) as f64).collect()
    }

    fn edges_of(&self, node: u32) -> std::ops::Range<usize> {
        let Node { first_edge, edges, .. } = self.nodes[node as usize];
        first_edge as usize..(first_edge + edges) as usize
    }

    fn edge(&self, node: u32, token: u32) -> Option<u32> {
        let edges = &self.edges[self.edges_of(node)];
        let at = edges.binary_search_by_key(&token, |edge| edge.0).ok()?;
        Some(edges[at].1)
    }

    /// The order: 5 for a model that looks back four tokens.
    pub fn order(&self) -> usize {
        self.order
    }

    /// The tokens, `<s>`, `</s>` and `<unk>` included.
    pub fn vocabulary(&self) -> &[String] {
        &self.vocabulary
    }

    /// How many n-grams there are of an order.
    pub fn count(&self, order: usize) -> usize {
        match (self.first_of_order.get(order), self.first_of_order.get(order + 1)) {
            (Some(first), Some(end)) if order > 0 => (end - first) as usize,
            _ => 0,
        }
    }

    /// The token's number; the unknown token's if the model has not seen it.
    fn token(&self, token: &str) -> Option<u32> {
        self.tokens.get(token).copied().or(self.unknown)
    }

    /// The history of a text that has not begun.
    fn start(&self) -> u32 {
        self.begin.and_then(|begin| self.edge(0, begin)).unwrap_or(0)
    }

    /// The log10 probability of a token behind a history, and the history behind it.
    fn advance(&self, mut history: u32, token: Option<u32>) -> (f32, u32) {
        let Some(token) = token else {
            return (UNKNOWN_LOG10, 0);
        };
        let mut sum = 0.0;
        loop {
            if let Some(node) = self.edge(history, token) {
                let Node { log10_prob, suffix, .. } = self.nodes[node as usize];
                let longest = node >= self.first_of_order[self.order];
                return (sum + log10_prob, if longest { suffix } else { node });
            }
            if history == 0 {
                return (sum + UNKNOWN_LOG10, 0);
            }
            sum += self.nodes[history as usize].backoff;
            history = self.nodes[history as usize].suffix;
        }
    }

    /// The log10 probability of the end behind a history; 0 for a model without an end.
    fn finish(&self, history: u32) -> f32 {
        if self.end.is_some() { self.advance(history, self.end).0 } else { 0.0 }
    }

    /// The natural-log probability of a sequence of tokens, its start and end included.
    pub fn score<S: AsRef<str>>(&self, tokens: impl IntoIterator<Item = S>) -> f64 {
        let mut history = self.start();
        let mut sum = 0.0;
        for token in tokens {
            let (log10_prob, next) = self.advance(history, self.token(token.as_ref()));
            sum += f64::from(log10_prob);
            history = next;
        }
        (sum + f64::from(self.finish(history))) * std::f64::consts::LN_10
    }
}

/// An n-gram model over the symbols of a charset.
///
/// Where the charset has a space, `word by word` models see every word of a line by itself: at a
/// space the word ends, and the next begins.
///
/// ```
/// use svtrv2::Charset;
/// use svtrv2::language_model::{LanguageModel, Ngram, SymbolLm, lm_log_probability};
///
/// let charset = Charset::english();
/// let words = [("open", 5), ("often", 3), ("pen", 1)];
/// let ngram = Ngram::from_words(&charset, &words, 4)?;
/// let model = SymbolLm::new(ngram.into(), &charset, false);
/// let score = |text: &str| Ok::<_, svtrv2::Error>(lm_log_probability(&model, &charset.encode(text)?));
/// assert!(score("open")? > score("oqen")?);
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SymbolLm {
    ngram: Arc<Ngram>,
    /// The token of every class.
    tokens: Vec<Option<u32>>,
    /// The space, if words are seen by themselves.
    between_words: Option<usize>,
    fingerprint: u64,
}

impl SymbolLm {
    /// A model over a charset, of an n-gram model whose tokens are symbols.
    ///
    /// Symbols that the n-gram model does not know have the probability of its `<unk>`, or 1e-100
    /// without one.
    pub fn new(ngram: Arc<Ngram>, charset: &Charset, word_by_word: bool) -> Self {
        let symbols = charset.symbols().iter().map(|symbol| ngram.token(symbol));
        let tokens = std::iter::once(None).chain(symbols).collect();
        let between_words = charset.class(" ").filter(|_| word_by_word);
        SymbolLm { ngram, tokens, between_words, fingerprint: charset.fingerprint() }
    }
}

impl LanguageModel for SymbolLm {
    fn start(&self) -> LmState {
        [self.ngram.start(), 0, 0, 0]
    }

    fn advance(&self, state: LmState, class: usize) -> (f64, LmState) {
        if Some(class) == self.between_words {
            return (self.finish(state), self.start());
        }
        let token = self.tokens.get(class).copied().flatten();
        let (log10_prob, history) = self.ngram.advance(state[0], token);
        (natural(log10_prob), [history, 0, 0, 0])
    }

    fn finish(&self, state: LmState) -> f64 {
        natural(self.ngram.finish(state[0]))
    }

    fn charset_fingerprint(&self) -> Option<u64> {
        Some(self.fingerprint)
    }
}

/// Files round logarithms: a certain token may be a little above 0 there.
fn natural(log10_prob: f32) -> f64 {
    (f64::from(log10_prob) * std::f64::consts::LN_10).min(0.0)
}

#[cfg(test)]
impl Ngram {
    /// The probability of the last token behind the others.
    pub(super) fn step(&self, tokens: &[&str]) -> f64 {
        let mut history = self.start();
        let mut last = 0.0;
        for token in tokens {
            (last, history) = self.advance(history, self.token(token));
        }
        10f64.powf(f64::from(last))
    }
}
