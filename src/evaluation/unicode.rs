//! Comparison of texts in any script.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

/// How texts of any script are compared: in Unicode's compatibility composition (NFKC), so that "ﬁ"
/// equals "fi", "Ａ！" equals "A!", and an accent equals its letter's however it is encoded; with the
/// letter case as it is.
///
/// ```
/// use svtrv2::evaluation::UnicodeRule;
///
/// let mut rule = UnicodeRule::default();
/// assert_eq!(rule.normalized(" Cafe\u{301}\u{3000}漢字，“１”"), "Café 漢字,“1”");
/// rule.spaces = false;
/// rule.fold_punctuation = true;
/// assert_eq!(rule.normalized(" Cafe\u{301}\u{3000}漢字，“１”"), "Café漢字,\"1\"");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct UnicodeRule {
    /// Whether spaces count: any white space between two characters counts as one space, at the ends
    /// as none. If not, all of it is left out.
    pub spaces: bool,
    /// Whether punctuation that looks alike counts as the same: typographic quotation marks,
    /// apostrophes and primes as `"` and `'`; dashes and the minus sign as `-`; the ideographic comma
    /// and full stop as `,` and `.`; lenticular and tortoise-shell brackets as `[` and `]`; corner
    /// brackets as `"`.
    ///
    /// Full-width forms of ASCII count as ASCII without it: NFKC says so.
    pub fold_punctuation: bool,
}

impl Default for UnicodeRule {
    /// Spaces count, punctuation stays as it is.
    fn default() -> Self {
        UnicodeRule { spaces: true, fold_punctuation: false }
    }
}

impl UnicodeRule {
    /// A text as this rule compares it.
    pub fn normalized(self, text: &str) -> String {
        let fold = |c| if self.fold_punctuation { folded(c) } else { c };
        // Twice: NFKC makes two primes of a double one, and an ideographic full stop of a narrow one.
        let composed: String = text.chars().map(fold).nfkc().map(fold).collect();
        let separator = if self.spaces { " " } else { "" };
        composed.split_whitespace().collect::<Vec<_>>().join(separator)
    }

    /// How a text differs from its label.
    pub fn compare(self, label: &str, text: &str) -> LineErrors {
        let label: Vec<char> = self.normalized(label).chars().collect();
        let text: Vec<char> = self.normalized(text).chars().collect();
        let (distance, right_spaces) = aligned(&label, &text);
        let spaces = |text: &[char]| text.iter().filter(|c| **c == ' ').count();
        LineErrors {
            characters: label.len(),
            distance,
            label_spaces: spaces(&label),
            text_spaces: spaces(&text),
            right_spaces,
        }
    }
}

impl fmt::Display for UnicodeRule {
    /// What the rule does, in words.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let spaces = if self.spaces { "spaces counted" } else { "spaces left out" };
        let punctuation =
            if self.fold_punctuation { "punctuation folded" } else { "punctuation as it is" };
        write!(f, "NFKC, case as it is, {spaces}, {punctuation}")
    }
}

/// How a text differs from its label, both normalised ([`UnicodeRule::compare`]). A character is a
/// Unicode scalar value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LineErrors {
    /// Characters of the label.
    pub characters: usize,
    /// Characters that have to be inserted, deleted or replaced (Levenshtein distance).
    pub distance: usize,
    /// Spaces of the label.
    pub label_spaces: usize,
    /// Spaces of the text.
    pub text_spaces: usize,
    /// Spaces of the text that stand for spaces of the label, in the alignment of the fewest edits
    /// that has the most of them.
    pub right_spaces: usize,
}

impl LineErrors {
    /// Whether the texts are equal.
    pub fn is_exact(&self) -> bool {
        self.distance == 0
    }
}

fn folded(c: char) -> char {
    match c {
        '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{2036}' | '\u{301d}'..='\u{301f}' => '"',
        '\u{ab}' | '\u{bb}' | '\u{300c}'..='\u{300f}' => '"',
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{2035}' | '\u{2bc}' | '\u{b4}' | '`' => '\'',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        '\u{3001}' => ',',
        '\u{3002}' => '.',
        '\u{3010}' | '\u{3014}' => '[',
        '\u{3011}' | '\u{3015}' => ']',
        other => other,
    }
}

/// The fewest edits between two texts, and the most spaces that an alignment with so few edits pairs
/// with spaces.
fn aligned(label: &[char], text: &[char]) -> (usize, usize) {
    // Fewer edits first, then more spaces.
    let better = |a: (usize, usize), b: (usize, usize)| {
        if (b.0, usize::MAX - b.1) < (a.0, usize::MAX - a.1) { b } else { a }
    };
    let edited = |(edits, spaces): (usize, usize)| (edits + 1, spaces);
    let mut row: Vec<(usize, usize)> = (0..=text.len()).map(|edits| (edits, 0)).collect();
    for (above, &wanted) in (1..).zip(label) {
        let mut corner = std::mem::replace(&mut row[0], (above, 0));
        for (at, &found) in text.iter().enumerate() {
            let paired = if wanted == found {
                (corner.0, corner.1 + usize::from(found == ' '))
            } else {
                edited(corner)
            };
            corner = row[at + 1];
            row[at + 1] = better(better(paired, edited(corner)), edited(row[at]));
        }
    }
    row[text.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn normalization() {
        let plain = UnicodeRule::default();
        let folded = UnicodeRule { fold_punctuation: true, ..plain };
        let dense = UnicodeRule { spaces: false, ..plain };
        for (rule, text, expected) in [
            (plain, "Hotel", "Hotel"),
            (plain, "e\u{301}\u{302}", "\u{e9}\u{302}"),
            (plain, "ｶﾞ", "ガ"),
            (plain, "한", "한"),
            (plain, "\u{1112}\u{1161}\u{11ab}", "한"),
            (plain, "  a \t\u{3000}b\u{a0}", "a b"),
            (plain, "“a” – b、c。", "“a” – b、c。"),
            (folded, "“a” – b、c。", "\"a\" - b,c."),
            (folded, "5″ ′ ｡【x】", "5\" ' .[x]"),
            (folded, "«a» it’s", "\"a\" it's"),
            (dense, " a b ", "ab"),
            (dense, "  ", ""),
        ] {
            assert_eq!(rule.normalized(text), expected, "{text:?} {rule}");
        }
    }

    #[test]
    fn comparisons() {
        let rule = UnicodeRule::default();
        for (label, text, distance, right) in [
            ("漢字", "漢字", 0, 0),
            ("漢字", "漢宇", 1, 0),
            ("a b c", "ab c", 1, 1),
            ("a b c", "a b c", 0, 2),
            ("a b", "", 3, 0),
            ("", "a b", 3, 0),
            // Of two alignments with one edit, the one that keeps the space.
            ("a b", "axb", 1, 0),
            ("ab cd", "ab c d", 1, 1),
        ] {
            let found = rule.compare(label, text);
            assert_eq!((found.distance, found.right_spaces), (distance, right), "{label} {text}");
            assert_eq!(found.characters, label.chars().count());
            assert_eq!(found.is_exact(), label == text);
        }
    }

    proptest! {
        #[test]
        fn distances_are_levenshteins(label in "[ab é漢]{0,9}", text in "[ab é漢]{0,9}") {
            let rule = UnicodeRule::default();
            let (label, text) = (rule.normalized(&label), rule.normalized(&text));
            let found = rule.compare(&label, &text);
            prop_assert_eq!(found.distance, strsim::levenshtein(&label, &text));
            prop_assert!(found.right_spaces <= found.label_spaces.min(found.text_spaces));
            let back = rule.compare(&text, &label);
            prop_assert_eq!(back.right_spaces, found.right_spaces);
        }
    }
}
