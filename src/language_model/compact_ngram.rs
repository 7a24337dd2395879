//! N-gram models in about a byte and a half an n-gram: docs/ngram_format.md describes the file.

use std::ops::Range;
use std::path::Path;

use super::ngram::{BEGIN, END, Entry, MAX_ORDER, Ngram, UNKNOWN};
use crate::error::{LanguageModelError, Result};
use crate::files;
use crate::rans;

/// The version of models of up to 255 tokens, which numbers of one byte are enough for.
const NARROW: u8 = 1;
/// The version of those of more, with numbers of two bytes.
const WIDE: u8 = 2;
/// The most tokens of a model.
const MAX_TOKENS: usize = u16::MAX as usize;
/// Steps of log-probabilities and backoffs in nats.
const STEP: f32 = 0.25;
/// The code of a backoff of 0: pruned models have positive ones as well.
const NO_BACKOFF: u8 = 32;
/// The most n-grams of a model.
const MAX_GRAMS: usize = 1 << 24;
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
        Self::from_bytes(&encode(model)?)
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// As [`CompactNgram::new`].
    pub fn encode(model: &Ngram) -> Result<Vec<u8>> {
        encode(model)
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
        decode(bytes)
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

/// A block: its length, then its symbols.
fn push_block(out: &mut Vec<u8>, symbols: &[u8]) {
    let block = rans::encode(symbols, rans::MAX_SYMBOLS);
    out.extend((block.len() as u32).to_le_bytes());
    out.extend(block);
}

/// Numbers: a block of their bytes, or one of their low and one of their high bytes.
fn push_numbers(out: &mut Vec<u8>, numbers: &[u16], version: u8) {
    let bytes = |shift: u32| numbers.iter().map(|n| (n >> shift) as u8).collect::<Vec<u8>>();
    push_block(out, &bytes(0));
    if version == WIDE {
        push_block(out, &bytes(8));
    }
}

fn encode(model: &Ngram) -> Result<Vec<u8>> {
    let orders = model.entries();
    let vocabulary = model.vocabulary();
    let fault = |detail: &str| LanguageModelError::Compact { detail: detail.to_owned() };
    if vocabulary.len() > MAX_TOKENS {
        return Err(fault("more than 65 535 tokens").into());
    }
    if vocabulary.iter().any(|token| token.len() > 255) {
        return Err(fault("a token of more than 255 bytes").into());
    }
    if orders.iter().map(Vec::len).sum::<usize>() > MAX_GRAMS {
        return Err(fault("more than 2^24 n-grams").into());
    }
    let mut out = CompactNgram::MAGIC.to_vec();
    let version = if vocabulary.len() <= 255 { NARROW } else { WIDE };
    out.extend([version, orders.len() as u8]);
    match version {
        NARROW => out.push(vocabulary.len() as u8),
        _ => out.extend((vocabulary.len() as u16).to_le_bytes()),
    }
    for token in vocabulary {
        out.push(token.len() as u8);
        out.extend(token.bytes());
    }
    for order in &orders {
        out.extend((order.len() as u32).to_le_bytes());
    }
    let in_steps = |log10: f32| (-log10 * std::f32::consts::LN_10 / STEP).round();
    // The children of the empty history are all single tokens.
    let mut parents = vec![orders.first().map_or(0, Vec::len) as u16];
    for (length, order) in (1..).zip(&orders) {
        if length > 1 {
            let histories = &orders[length - 2];
            parents = children(histories, order, length);
            push_numbers(&mut out, &parents, version);
            let backoffs: Vec<u8> = histories
                .iter()
                .zip(&parents)
                .filter(|(_, children)| **children > 0)
                .map(|(entry, _)| (in_steps(entry.backoff) + f32::from(NO_BACKOFF)) as u8)
                .collect();
            push_block(&mut out, &backoffs);
        }
        let mut tokens = Vec::with_capacity(order.len());
        let mut rest = &order[..];
        for &children in &parents {
            let (own, others) = rest.split_at(usize::from(children));
            let mut next = 0;
            for entry in own {
                let token = entry.gram[length - 1] as u16;
                tokens.push(token - next);
                // No token comes behind the last number.
                next = token.saturating_add(1);
            }
            rest = others;
        }
        push_numbers(&mut out, &tokens, version);
        let costs: Vec<u8> = order.iter().map(|entry| in_steps(entry.log10_prob) as u8).collect();
        push_block(&mut out, &costs);
    }
    Ok(out)
}

/// How many n-grams of a length every history begins.
fn children(histories: &[Entry], order: &[Entry], length: usize) -> Vec<u16> {
    let mut rest = order;
    histories
        .iter()
        .map(|history| {
            let own = rest
                .iter()
                .take_while(|entry| entry.gram[..length - 1] == history.gram[..length - 1])
                .count();
            rest = &rest[own..];
            own as u16
        })
        .collect()
}

/// What is left of the bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it breaks off")?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, &'static str> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Result<usize, &'static str> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
    }

    fn block(&mut self, symbols: usize) -> Result<Vec<u8>, &'static str> {
        let len = self.number()?;
        rans::decode(self.take(len)?, rans::MAX_SYMBOLS, symbols)
    }

    fn numbers(&mut self, count: usize, version: u8) -> Result<Vec<u16>, &'static str> {
        let mut numbers: Vec<u16> = self.block(count)?.into_iter().map(u16::from).collect();
        if version == WIDE {
            for (number, high) in numbers.iter_mut().zip(self.block(count)?) {
                *number |= u16::from(high) << 8;
            }
        }
        Ok(numbers)
    }
}

fn decode(bytes: &[u8]) -> Result<CompactNgram, &'static str> {
    let mut reader = Reader(bytes);
    if reader.take(CompactNgram::MAGIC.len())? != CompactNgram::MAGIC {
        return Err("it does not begin as one");
    }
    let version = reader.byte()?;
    if ![NARROW, WIDE].contains(&version) {
        return Err("its version is neither 1 nor 2");
    }
    let order = usize::from(reader.byte()?);
    if !(1..=MAX_ORDER).contains(&order) {
        return Err("its order is not 1 to 8");
    }
    let mut tokens = usize::from(reader.byte()?);
    if version == WIDE {
        tokens |= usize::from(reader.byte()?) << 8;
    }
    let mut vocabulary = Vec::new();
    for _ in 0..tokens {
        let len = usize::from(reader.byte()?);
        let token = std::str::from_utf8(reader.take(len)?).map_err(|_| "a token is not UTF-8")?;
        vocabulary.push(token.to_owned());
    }
    let mut counts = Vec::with_capacity(order);
    for _ in 0..order {
        counts.push(reader.number()?);
    }
    let all = counts.iter().fold(0usize, |sum, &count| sum.saturating_add(count));
    if counts[0] > vocabulary.len() || all > MAX_GRAMS {
        return Err("there are too many n-grams");
    }
    let root = Node { first_child: 1, suffix: 0, token: 0, cost: 0, backoff: NO_BACKOFF };
    let mut nodes = vec![root];
    // Where the histories of the order lie, and how many n-grams each begins.
    let mut histories = 0..1;
    let mut children = vec![counts[0] as u16];
    for (length, &count) in (1..).zip(&counts) {
        if length > 1 {
            children = reader.numbers(histories.len(), version)?;
            let total: usize = children.iter().map(|&children| usize::from(children)).sum();
            if total != count {
                return Err("the n-grams of an order are not as many as its histories say");
            }
            let with_children = children.iter().filter(|&&children| children > 0).count();
            let mut backoffs = reader.block(with_children)?.into_iter();
            let mut next = nodes.len();
            for (node, &children) in nodes[histories].iter_mut().zip(&children) {
                node.first_child = next as u32;
                next += usize::from(children);
                if children > 0 {
                    node.backoff = backoffs.next().unwrap_or(NO_BACKOFF);
                }
            }
        }
        let tokens = reader.numbers(count, version)?;
        let costs = reader.block(count)?;
        let mut given = tokens.into_iter().zip(costs);
        let first = nodes.len();
        for &children in &children {
            let mut next = 0;
            for (difference, cost) in given.by_ref().take(usize::from(children)) {
                let token = next + usize::from(difference);
                if token >= vocabulary.len() {
                    return Err("a token is not in the vocabulary");
                }
                next = token + 1;
                let (token, backoff) = (token as u16, NO_BACKOFF);
                nodes.push(Node { first_child: 0, suffix: 0, token, cost, backoff });
            }
        }
        histories = first..nodes.len();
    }
    // The longest n-grams have no children.
    let first_of_highest = histories.start as u32;
    let end = nodes.len() as u32;
    nodes.push(root);
    nodes[histories.start..].iter_mut().for_each(|node| node.first_child = end);
    if !reader.0.is_empty() {
        return Err("something is left behind its end");
    }
    let mut sorted: Vec<u16> = (0..vocabulary.len() as u16).collect();
    sorted.sort_by(|&a, &b| vocabulary[usize::from(a)].cmp(&vocabulary[usize::from(b)]));
    let find = |name: &str| find(&vocabulary, &sorted, name);
    let (begin, end, unknown) = (find(BEGIN), find(END), find(UNKNOWN));
    let mut model =
        CompactNgram { order, vocabulary, sorted, nodes, first_of_highest, begin, end, unknown };
    model.link_suffixes();
    Ok(model)
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
    use super::*;
    use crate::charset::Charset;
    use crate::language_model::Smoothing;
    use proptest::prelude::*;

    fn words() -> Vec<(&'static str, u64)> {
        vec![("hotel", 5), ("hostel", 2), ("motel", 1), ("tell", 3), ("ee", 1), ("lot", 2)]
    }

    fn model(order: usize) -> Ngram {
        Ngram::from_words(&Charset::english(), &words(), order).unwrap()
    }

    fn score(model: &CompactNgram, text: &str) -> f32 {
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

    fn ideograph(i: u32) -> String {
        char::from_u32(0x4e00 + i).unwrap().to_string()
    }

    /// A model of texts of three symbols, of `count` in all.
    fn many_tokens(count: u32) -> Ngram {
        let text = |i: u32| [i, (i * 7 + 1) % count, i / 300].map(ideograph);
        let texts: Vec<[String; 3]> = (0..count).map(text).collect();
        let sequences = texts
            .iter()
            .zip(1..)
            .map(|(text, i)| (text.iter().map(String::as_str).collect::<Vec<_>>(), 1 + i % 3));
        Ngram::estimate(sequences, 3).unwrap()
    }

    #[test]
    fn thousands_of_tokens() {
        // With the three tokens that every model has: the last narrow one, the first wide one, many.
        for (count, version) in [(252, NARROW), (253, WIDE), (18_709, WIDE)] {
            let exact = many_tokens(count);
            assert_eq!(exact.vocabulary().len(), count as usize + 3);
            let bytes = CompactNgram::encode(&exact).unwrap();
            assert_eq!(bytes[7], version, "{count}");
            let compact = CompactNgram::from_bytes(&bytes).unwrap();
            assert_eq!(compact.vocabulary(), exact.vocabulary());
            let grams: usize = (1..=3).map(|order| exact.count(order)).sum();
            assert_eq!(compact.grams(), grams);
            for i in [0, 1, 77, count / 2, count - 1] {
                let text = [i, (i * 7 + 1) % count, i / 300, (i + 5) % count].map(ideograph);
                let off = (f64::from(score(&compact, &text.concat())) - exact.score(&text)).abs();
                assert!(off <= 0.1251 * 15.0, "{count}, {text:?}: {off} off");
            }
            assert!(CompactNgram::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn the_most_tokens() {
        let model = |count: u32| {
            let entry = |token: u32| {
                let mut gram = [0; MAX_ORDER];
                gram[0] = token;
                Entry { gram, log10_prob: -4.8, backoff: 0.0 }
            };
            let vocabulary = (0..count).map(|i| i.to_string()).collect();
            Ngram::from_entries(vocabulary, &[(0..count).map(entry).collect()])
        };
        let compact = CompactNgram::new(&model(65_535)).unwrap();
        assert_eq!(compact.grams(), 65_535);
        assert_eq!(compact.token("65534"), Some(65_534));
        assert_eq!(compact.advance(0, Some(65_534)), (-11.0, 0));
        let error = CompactNgram::new(&model(65_536)).unwrap_err().to_string();
        assert!(error.contains("more than 65 535 tokens"), "{error}");
    }

    #[test]
    fn pruning_keeps_what_matters() {
        let charset = Charset::english();
        let sequences = || {
            words().into_iter().map(|(word, count)| {
                let symbols: Vec<&str> = word.split("").filter(|part| !part.is_empty()).collect();
                (symbols, count)
            })
        };
        let full = Ngram::estimate_with(Smoothing::Absolute, sequences(), 5).unwrap();
        let total = |model: &Ngram| (1..=5).map(|order| model.count(order)).sum::<usize>();
        let loss = |model: &Ngram| -> f64 {
            -sequences().map(|(word, count)| model.score(word) * count as f64).sum::<f64>()
        };
        let mut losses = vec![loss(&full)];
        for grams in [60, 40, 20] {
            let pruned = full.pruned(sequences(), grams);
            assert!(total(&pruned) <= grams, "{}", total(&pruned));
            losses.push(loss(&pruned));
            // Still a distribution behind every history.
            for history in [&["h"][..], &["h", "o", "t"], &["e", "l"], &["t", "e"]] {
                let prefix = |tokens: &[&str]| -> f64 {
                    (1..=tokens.len()).map(|len| pruned.step(&tokens[..len])).product()
                };
                let mut sum = pruned.score(history).exp() / prefix(history);
                for symbol in charset.symbols() {
                    let longer: Vec<&str> =
                        history.iter().copied().chain([symbol.as_str()]).collect();
                    let known = pruned.vocabulary().contains(symbol);
                    sum += if known { pruned.step(&longer) } else { 0.0 };
                }
                let unknown: Vec<&str> = history.iter().copied().chain(["<unk>"]).collect();
                sum += pruned.step(&unknown);
                assert!((sum - 1.0).abs() < 1e-4, "{grams}, {history:?}: {sum}");
            }
        }
        assert!(losses.is_sorted(), "{losses:?}");
        // The cheapest n-grams go first: a random half would cost far more.
        assert!(losses[1] < 1.15 * losses[0], "{losses:?}");
    }

    #[test]
    fn damage() {
        let good = CompactNgram::encode(&model(3)).unwrap();
        type Attack<'a> = &'a dyn Fn(&mut Vec<u8>);
        let vocabulary =
            10 + model(3).vocabulary().iter().map(|token| 1 + token.len()).sum::<usize>();
        let attacks: [(&str, Attack, &str); 8] = [
            ("empty", &|b| b.clear(), "breaks off"),
            ("another file", &|b| b[0] = b'S', "begin as one"),
            ("another version", &|b| b[7] = 3, "version"),
            ("order 0", &|b| b[8] = 0, "order"),
            ("order 9", &|b| b[8] = 9, "order"),
            ("token not UTF-8", &|b| b[11] = 0xff, "UTF-8"),
            ("2^32 n-grams", &|b| b[vocabulary + 4..vocabulary + 8].fill(255), "too many"),
            ("longer", &|b| b.push(0), "left behind"),
        ];
        for (name, attack, expected) in attacks {
            let mut bytes = good.clone();
            attack(&mut bytes);
            let message = CompactNgram::from_bytes(&bytes).unwrap_err().to_string();
            assert!(message.contains(expected), "{name}: {message}");
        }
        for len in 0..good.len() {
            assert!(CompactNgram::from_bytes(&good[..len]).is_err(), "cut to {len}");
        }
    }

    proptest! {
        #[test]
        fn flipped_bytes_never_panic(at in 0.0..1.0f64, to in 0u8..=255) {
            let mut bytes = CompactNgram::encode(&model(4)).unwrap();
            let at = (at * bytes.len() as f64) as usize;
            bytes[at] = to;
            if let Ok(model) = CompactNgram::from_bytes(&bytes) {
                score(&model, "hotelx");
            }
        }
    }
}
