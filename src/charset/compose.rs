//! Texts in Unicode's composed form (NFC), and which symbols a composed character is made of.

use std::ops::Range;

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// A text in NFC.
pub(crate) fn composed(text: String) -> String {
    if is_nfc(&text) { text } else { text.nfc().collect() }
}

/// The characters of a text that symbols make, in NFC: each with the places of its symbols, one of
/// them unless they compose.
///
/// Together the characters are the text in NFC. Symbols that stay as they are stay apart.
pub(crate) fn compose(symbols: &[&str]) -> Vec<(String, Range<usize>)> {
    let mut characters = Vec::with_capacity(symbols.len());
    let mut start = 0;
    while start < symbols.len() {
        let mut run = symbols[start].to_owned();
        let mut end = start + 1;
        while let Some(next) = symbols.get(end).filter(|next| joins(&run, next)) {
            run.push_str(next);
            end += 1;
        }
        if is_nfc(&run) {
            characters.extend((start..end).map(|at| (symbols[at].to_owned(), at..at + 1)));
        } else {
            characters.push((run.nfc().collect(), start..end));
        }
        start = end;
    }
    characters
}

/// Whether a symbol may change with what stands before it: it begins with a mark, or composes.
fn joins(before: &str, symbol: &str) -> bool {
    let Some(first) = symbol.chars().next().filter(|first| !first.is_ascii()) else {
        return false;
    };
    canonical_combining_class(first) != 0 || {
        let together = before.chars().chain(symbol.chars()).nfc();
        !together.eq(before.nfc().chain(symbol.nfc()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_and_syllables() {
        type Expected = &'static [(&'static str, Range<usize>)];
        let cases: [(&[&str], Expected); 8] = [
            (&[], &[]),
            (&["a", "b"], &[("a", 0..1), ("b", 1..2)]),
            (&["c", "e", "\u{301}", "s"], &[("c", 0..1), ("é", 1..3), ("s", 3..4)]),
            // Marks that compose with nothing stay as they are.
            (&["x", "\u{301}"], &[("x", 0..1), ("\u{301}", 1..2)]),
            // The second mark composes, over the first one.
            (&["e", "\u{323}", "\u{302}"], &[("ệ", 0..3)]),
            (&["\u{1112}", "\u{1161}", "\u{11ab}", "a"], &[("한", 0..3), ("a", 3..4)]),
            // A symbol that is not composed itself.
            (&["e\u{301}", "a"], &[("é", 0..1), ("a", 1..2)]),
            (&["\u{301}", "e"], &[("\u{301}", 0..1), ("e", 1..2)]),
        ];
        for (symbols, expected) in cases {
            let found = compose(symbols);
            let found: Vec<_> =
                found.iter().map(|(text, at)| (text.as_str(), at.clone())).collect();
            assert_eq!(found, expected, "{symbols:?}");
        }
    }

    proptest! {
        #[test]
        fn together_they_are_the_text(
            symbols in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "e", "é", "\u{301}", "\u{323}", "\u{302}", "\u{327}", "\u{1112}", "\u{1161}",
                    "\u{11ab}", "하", "か", "\u{3099}", "e\u{302}", "\u{915}", "\u{93c}", "漢", " ",
                ]),
                0..9,
            ),
        ) {
            let found = compose(&symbols);
            let text: String = found.iter().map(|(text, _)| text.as_str()).collect();
            prop_assert_eq!(&text, &symbols.concat().nfc().collect::<String>());
            prop_assert_eq!(text, composed(symbols.concat()));
            // Every symbol is in one character, in order.
            let mut next = 0;
            for (_, places) in found {
                prop_assert_eq!(places.start, next);
                prop_assert!(!places.is_empty());
                next = places.end;
            }
            prop_assert_eq!(next, symbols.len());
        }
    }
}
