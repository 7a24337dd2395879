//! The ARPA format of n-gram models: text, one n-gram a line.
//!
//! ```text
//! \data\
//! ngram 1=4
//! ngram 2=3
//!
//! \1-grams:
//! -0.9    a    -0.3
//! ...
//! \end\
//! ```
//!
//! Fields are a log10 probability, the tokens, and, unless it is 0, the log10 weight of backing off.
//! A token that is a space is written `<space>`.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use super::ngram::{Entry, Gram, MAX_ORDER, Ngram};
use crate::error::{LanguageModelError, Result, shortened};
use crate::files;

const SPACE: &str = "<space>";
/// The longest file in bytes.
const MAX_FILE: u64 = 1 << 30;

/// The lines of a file, with their numbers.
struct Lines<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    number: usize,
}

impl<'a> Lines<'a> {
    /// The next line that is not blank, without blanks around it.
    fn next(&mut self) -> Result<&'a str, LanguageModelError> {
        for (index, line) in self.lines.by_ref() {
            self.number = index + 1;
            let line = line.trim_matches(BLANKS);
            if !line.is_empty() {
                return Ok(line);
            }
        }
        Err(self.fault("the file ends before \\end\\"))
    }

    fn fault(&self, detail: impl Into<String>) -> LanguageModelError {
        LanguageModelError::Arpa { line: self.number, detail: shortened(&detail.into()) }
    }
}

/// What separates fields. Not everything that Unicode calls white space: that may be a token.
const BLANKS: [char; 3] = [' ', '\t', '\r'];

impl Ngram {
    /// Opens an ARPA file.
    ///
    /// # Errors
    /// [`LanguageModelError`], with the line at fault.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = files::read(path, MAX_FILE)
            .map_err(|source| LanguageModelError::Io { path: path.to_owned(), source })?;
        let text = String::from_utf8(bytes).map_err(|error| LanguageModelError::NotUtf8 {
            offset: error.utf8_error().valid_up_to(),
        })?;
        Self::from_arpa(&text)
    }

    /// Reads an ARPA model.
    ///
    /// N-grams whose history is missing (pruned away) get it, with the probability that backing
    /// off gives it.
    ///
    /// # Errors
    /// As [`Ngram::open`].
    pub fn from_arpa(text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = Lines { lines: text.lines().enumerate(), number: 0 };
        while lines.next()? != "\\data\\" {}
        let mut counts = Vec::new();
        let mut line = lines.next()?;
        while let Some(header) = line.strip_prefix("ngram") {
            counts.push(parse_count(header, counts.len() + 1).ok_or_else(|| {
                lines.fault(format!("{line:?} is not the count of order {}", counts.len() + 1))
            })?);
            line = lines.next()?;
        }
        let order = counts.len();
        if !(1..=MAX_ORDER).contains(&order) {
            return Err(LanguageModelError::Order { order, most: MAX_ORDER }.into());
        }
        let mut vocabulary = Vec::new();
        let mut tokens: HashMap<String, u32> = HashMap::new();
        let mut orders: Vec<Vec<Entry>> = Vec::new();
        for length in 1..=order {
            if line != format!("\\{length}-grams:") {
                return Err(lines.fault(format!("{line:?} is not \\{length}-grams:")).into());
            }
            let mut entries = Vec::new();
            line = lines.next()?;
            while !line.starts_with('\\') || line.contains(BLANKS) {
                entries.push(parse_entry(line, length, &lines, &mut vocabulary, &mut tokens)?);
                line = lines.next()?;
            }
            if entries.len() != counts[length - 1] {
                let (found, told) = (entries.len(), counts[length - 1]);
                let detail =
                    format!("{found} n-grams of order {length}, not the {told} of the header");
                return Err(lines.fault(detail).into());
            }
            entries.sort_unstable_by_key(|entry| entry.gram);
            if let Some(twice) = entries.windows(2).find(|pair| pair[0].gram == pair[1].gram) {
                let name = name(&twice[0].gram[..length], &vocabulary);
                return Err(lines.fault(format!("{name:?} is there twice above")).into());
            }
            orders.push(entries);
        }
        if line != "\\end\\" {
            return Err(lines.fault(format!("{line:?} is not \\end\\")).into());
        }
        add_histories(&mut orders);
        Ok(Self::from_entries(vocabulary, &orders))
    }

    /// Writes the model in the ARPA format: [`Ngram::from_arpa`] reads the same model from it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_arpa(&self, mut out: impl Write) -> std::io::Result<()> {
        let orders = self.entries();
        writeln!(out, "\\data\\")?;
        for (length, entries) in (1..).zip(&orders) {
            writeln!(out, "ngram {length}={}", entries.len())?;
        }
        for (length, entries) in (1..).zip(&orders) {
            writeln!(out, "\n\\{length}-grams:")?;
            for Entry { gram, log10_prob, backoff } in entries {
                write!(out, "{log10_prob}\t{}", name(&gram[..length], self.vocabulary()))?;
                if *backoff != 0.0 {
                    write!(out, "\t{backoff}")?;
                }
                writeln!(out)?;
            }
        }
        writeln!(out, "\n\\end\\")
    }

    /// Writes the model to an ARPA file, as a whole or not at all.
    ///
    /// # Errors
    /// [`LanguageModelError::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let written = files::replace_with(path, |file| {
            let mut out = std::io::BufWriter::new(file);
            self.write_arpa(&mut out)?;
            out.flush()
        });
        written.map_err(|source| LanguageModelError::Io { path: path.to_owned(), source }.into())
    }
}

/// The tokens of an n-gram as a file has them.
fn name(gram: &[u32], vocabulary: &[String]) -> String {
    let tokens: Vec<&str> = gram
        .iter()
        .map(|&token| vocabulary[token as usize].as_str())
        .map(|token| if token == " " { SPACE } else { token })
        .collect();
    tokens.join(" ")
}

/// The count in ` 2=1234` behind `ngram`.
fn parse_count(header: &str, order: usize) -> Option<usize> {
    let (length, count) = header.split_once('=')?;
    let length: usize = length.trim_matches(BLANKS).parse().ok()?;
    if length == order { count.trim_matches(BLANKS).parse().ok() } else { None }
}

fn parse_entry(
    line: &str,
    length: usize,
    lines: &Lines,
    vocabulary: &mut Vec<String>,
    tokens: &mut HashMap<String, u32>,
) -> Result<Entry, LanguageModelError> {
    let number = |text: &str| {
        let number: Option<f32> = text.parse().ok().filter(|n: &f32| !n.is_nan() && *n < 1e30);
        number.ok_or_else(|| lines.fault(format!("{text:?} is not a logarithm")))
    };
    let mut fields = line.split(BLANKS).filter(|field| !field.is_empty());
    let log10_prob = number(fields.next().unwrap_or_default())?;
    // Rounding may leave a certain token a little above 0.
    if log10_prob > 1e-3 {
        return Err(lines.fault(format!("the log-probability {log10_prob} is above 0")));
    }
    let mut gram: Gram = [0; MAX_ORDER];
    for token in &mut gram[..length] {
        let field = fields.next();
        let field = field.ok_or_else(|| lines.fault(format!("fewer than {length} tokens")))?;
        let name = if field == SPACE { " " } else { field };
        *token = match tokens.get(name) {
            Some(&token) => token,
            None if length > 1 => {
                return Err(lines.fault(format!("{name:?} is not among the 1-grams")));
            }
            None => {
                let token = vocabulary.len() as u32;
                vocabulary.push(name.to_owned());
                tokens.insert(name.to_owned(), token);
                token
            }
        };
    }
    let backoff = fields.next().map_or(Ok(0.0), number)?;
    match fields.next() {
        Some(field) => Err(lines.fault(format!("{field:?} behind the n-gram of order {length}"))),
        None => Ok(Entry { gram, log10_prob, backoff }),
    }
}

/// Adds the histories of n-grams that are missing, with the probability that backing off gives.
fn add_histories(orders: &mut [Vec<Entry>]) {
    for length in (2..=orders.len()).rev() {
        let missing: Vec<Gram> = {
            let shorter = &orders[length - 2];
            let mut histories: Vec<Gram> = orders[length - 1]
                .iter()
                .map(|entry| {
                    let mut history = entry.gram;
                    history[length - 1] = 0;
                    history
                })
                .filter(|history| shorter.binary_search_by(|e| e.gram.cmp(history)).is_err())
                .collect();
            histories.dedup();
            histories
        };
        for gram in missing {
            let log10_prob = backed_off(orders, &gram[..length - 1]);
            orders[length - 2].push(Entry { gram, log10_prob, backoff: 0.0 });
        }
        orders[length - 2].sort_unstable_by_key(|entry| entry.gram);
    }
}

/// The log10 probability of the last of some tokens by shorter n-grams.
fn backed_off(orders: &[Vec<Entry>], tokens: &[u32]) -> f32 {
    let find = |tokens: &[u32]| {
        let mut gram = [0; MAX_ORDER];
        gram[..tokens.len()].copy_from_slice(tokens);
        let entries = &orders[tokens.len() - 1];
        let at = entries.binary_search_by(|entry| entry.gram.cmp(&gram)).ok()?;
        Some(entries[at])
    };
    let mut sum = 0.0;
    for start in 0..tokens.len() {
        if let Some(entry) = (start > 0).then(|| find(&tokens[start..])).flatten() {
            return sum + entry.log10_prob;
        }
        if start + 1 < tokens.len() {
            let history = &tokens[start..tokens.len() - 1];
            sum += find(history).map_or(0.0, |entry| entry.backoff);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::charset::Charset;

    const SMALL: &str = "\
        \\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-1\t<s>\t-0.5\n-0.5\ta\t-0.25\n-0.75\tb\n\
        -0.6 </s>\n\n\\2-grams:\n-0.1\t<s> a\n-0.2\ta b\n\n\\end\\\n";

    fn fault(text: &str) -> String {
        Ngram::from_arpa(text).unwrap_err().to_string()
    }

    #[test]
    fn backoff() {
        let model = Ngram::from_arpa(SMALL).unwrap();
        let score = |tokens: &[&str]| model.score(tokens) / std::f64::consts::LN_10;
        let unknown = -0.5 - 100.0 - 0.6;
        for (tokens, expected) in [
            (&["a", "b"][..], -0.1 - 0.2 - 0.6),
            (&["a", "a"], -0.1 + (-0.25 - 0.5) + (-0.25 - 0.6)),
            (&["b"], (-0.5 - 0.75) - 0.6),
            (&[], -0.5 - 0.6),
            (&["x"], unknown + 0.5),
        ] {
            assert!((score(tokens) - expected).abs() < 1e-5, "{tokens:?}: {}", score(tokens));
        }
    }

    #[test]
    fn missing_histories() {
        let text = SMALL
            .replace("ngram 2=2", "ngram 2=2\nngram 3=1")
            .replace("\\end\\", "\\3-grams:\n-0.3 b a b\n\\end\\");
        let model = Ngram::from_arpa(&text).unwrap();
        assert_eq!((model.count(2), model.count(3)), (3, 1));
        // "b a" was added, with the backoff of b (0) and the probability of a.
        assert!((model.step(&["b", "a"]).log10() + 0.5).abs() < 1e-5);
        assert!((model.step(&["b", "a", "b"]).log10() + 0.3).abs() < 1e-5);
    }

    #[test]
    fn faults() {
        for (from, to, message) in [
            ("\\data\\", "", "ends before"),
            ("\\end\\", "", "ends before"),
            ("ngram 2=2", "ngram 3=2", "count of order 2"),
            ("ngram 2=2", "ngram 2=two", "count of order 2"),
            ("ngram 2=2", "ngram 2=3", "2 n-grams of order 2, not the 3"),
            ("ngram 1=4\nngram 2=2\n", "", "the order 1 to 8, not 0"),
            ("\\2-grams:", "\\3-grams:", "not \\2-grams:"),
            ("-0.2\ta b", "x\ta b", "not a logarithm"),
            ("-0.2\ta b", "NaN\ta b", "not a logarithm"),
            ("-0.2\ta b", "0.2\ta b", "above 0"),
            ("-0.2\ta b", "-0.2\ta", "fewer than 2"),
            ("-0.2\ta b", "-0.2\ta c", "not among the 1-grams"),
            ("-0.2\ta b", "-0.2\ta b\t-1\t-2", "behind the n-gram"),
            ("-0.2\ta b", "-0.2\t<s> a", "twice"),
        ] {
            assert_ne!(SMALL.replace(from, to), SMALL);
            let found = fault(&SMALL.replace(from, to));
            assert!(found.contains(message), "{from:?} -> {to:?}: {found}");
        }
        for end in 0..SMALL.trim_end().len() {
            assert!(Ngram::from_arpa(&SMALL[..end]).is_err(), "truncated to {end}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.arpa");
        assert!(Ngram::open(&path).unwrap_err().to_string().contains("model.arpa"));
        std::fs::write(&path, [SMALL.as_bytes(), b"\xff"].concat()).unwrap();
        assert!(Ngram::open(&path).unwrap_err().to_string().contains("not UTF-8"));
    }

    proptest! {
        #[test]
        fn round_trip(
            words in prop::collection::vec(("[abé ]{0,6}", 1u64..9), 1..12),
            order in 1..=MAX_ORDER,
        ) {
            let charset = Charset::from_characters("abé ").unwrap();
            let model = Ngram::from_words(&charset, &words, order).unwrap();
            let mut text = Vec::new();
            model.write_arpa(&mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            let again = Ngram::from_arpa(&text).unwrap();
            for (word, _) in &words {
                let symbols: Vec<String> = word.chars().map(String::from).collect();
                prop_assert_eq!(model.score(&symbols), again.score(&symbols));
            }
            let mut written = Vec::new();
            again.write_arpa(&mut written).unwrap();
            let lines = |text: &str| {
                let mut lines: Vec<String> = text.lines().map(String::from).collect();
                lines.sort();
                lines
            };
            prop_assert_eq!(lines(&String::from_utf8(written).unwrap()), lines(&text));
        }

        #[test]
        fn nothing_panics(text in "(\\\\data\\\\\n)?(ngram [0-3]=[0-3]\n){0,3}(.|\n){0,60}") {
            let _ = Ngram::from_arpa(&text);
        }
    }
}
