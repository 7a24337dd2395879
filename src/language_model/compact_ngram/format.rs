//! The bytes of a compact n-gram model (docs/ngram_format.md).

use super::super::ngram::{BEGIN, END, Entry, MAX_ORDER, Ngram, UNKNOWN};
use super::{CompactNgram, NO_BACKOFF, Node, STEP, find};
use crate::error::{LanguageModelError, Result};
use crate::rans;

/// The version of models of up to 255 tokens, which numbers of one byte are enough for.
const NARROW: u8 = 1;
/// The version of those of more, with numbers of two bytes.
const WIDE: u8 = 2;
/// The most tokens of a model.
const MAX_TOKENS: usize = u16::MAX as usize;
/// The most n-grams of a model.
const MAX_GRAMS: usize = 1 << 24;

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

pub(super) fn encode(model: &Ngram) -> Result<Vec<u8>> {
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

pub(super) fn decode(bytes: &[u8]) -> Result<CompactNgram, &'static str> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{model, score};
    use super::*;

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
