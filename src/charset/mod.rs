//! The alphabet: which symbol each class of the network stands for.
//!
//! Class 0 is the CTC blank; class `i` is symbol `i - 1` of the charset. A symbol is a string, not
//! a `char`: an entry of several code points (a letter with a combining mark, an emoji sequence)
//! is one class.

mod compose;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

pub(crate) use self::compose::{compose, composed};
use crate::error::{CharsetError, Result};
use crate::files;

/// The 94 printable ASCII characters in the order of the published English checkpoints.
const ENGLISH: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\
                       !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// The longest dictionary file in bytes: some 256 for each of the most symbols.
const MAX_FILE: u64 = (Charset::MAX_SYMBOLS * Charset::MAX_SYMBOL) as u64;

/// The symbols of a network, in the order of its classes.
///
/// Clones share the symbols: a clone costs nothing, however many there are. 18 709 symbols take about
/// 1 MB.
///
/// ```
/// use svtrv2::Charset;
///
/// let charset = Charset::english();
/// assert_eq!(charset.len(), 94);
/// assert_eq!(charset.symbol(0), None); // the blank
/// assert_eq!(charset.symbol(11), Some("a"));
/// assert_eq!(charset.class("a"), Some(11));
/// ```
#[derive(Debug, Clone)]
pub struct Charset(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    symbols: Vec<String>,
    /// The places of the symbols, in the order of the symbols as texts.
    sorted: Vec<u32>,
    /// Code points of the longest symbol.
    longest: usize,
    fingerprint: u64,
}

impl PartialEq for Charset {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.symbols == other.0.symbols
    }
}

impl Eq for Charset {}

impl Charset {
    /// The class of the CTC blank.
    pub const BLANK: usize = 0;
    /// The most symbols of a charset.
    pub const MAX_SYMBOLS: usize = 1 << 18;
    /// Bytes of the longest symbol; the longest emoji sequences have about 40.
    pub const MAX_SYMBOL: usize = 256;

    /// A charset of the given symbols, in order.
    ///
    /// # Errors
    /// [`CharsetError::Empty`], [`CharsetError::EmptyEntry`] or [`CharsetError::Duplicate`];
    /// [`CharsetError::TooMany`] and [`CharsetError::TooLong`] above [`Charset::MAX_SYMBOLS`] and
    /// [`Charset::MAX_SYMBOL`].
    pub fn new<S: Into<String>>(symbols: impl IntoIterator<Item = S>) -> Result<Self> {
        let symbols = symbols.into_iter().take(Self::MAX_SYMBOLS + 1).map(Into::into);
        let symbols: Vec<String> = symbols.collect();
        if symbols.len() > Self::MAX_SYMBOLS {
            return Err(CharsetError::TooMany { most: Self::MAX_SYMBOLS }.into());
        }
        if symbols.is_empty() {
            return Err(CharsetError::Empty.into());
        }
        for (index, symbol) in symbols.iter().enumerate() {
            if symbol.is_empty() {
                return Err(CharsetError::EmptyEntry { index }.into());
            }
            if symbol.len() > Self::MAX_SYMBOL {
                let (bytes, most) = (symbol.len(), Self::MAX_SYMBOL);
                return Err(CharsetError::TooLong { index, bytes, most }.into());
            }
        }
        let shared = Shared::new(symbols);
        // Equal symbols are neighbours, the first of them first.
        let repeated = shared.sorted.windows(2).map(|pair| (pair[0] as usize, pair[1] as usize));
        let repeated = repeated.filter(|&(a, b)| shared.symbols[a] == shared.symbols[b]);
        match repeated.min_by_key(|&(_, second)| second) {
            Some((first, second)) => {
                let symbol = shared.symbols[second].clone();
                Err(CharsetError::Duplicate { symbol, first, second }.into())
            }
            None => Ok(Charset(Arc::new(shared))),
        }
    }

    /// The 94 printable ASCII characters but the space: `0-9a-zA-Z` and punctuation, as in the
    /// published English checkpoints (95 classes).
    pub fn english() -> Self {
        Charset(Arc::new(Shared::new(ENGLISH.chars().map(String::from).collect())))
    }

    /// One symbol a `char` of `characters`.
    ///
    /// # Errors
    /// As [`Charset::new`].
    pub fn from_characters(characters: &str) -> Result<Self> {
        Self::new(characters.chars())
    }

    /// A dictionary: one entry a line, each kept whole however many code points it has.
    ///
    /// A byte-order mark at the start, the carriage returns of CRLF line ends and the line end
    /// after the last entry are not part of any entry. Nothing else is trimmed: a line that holds
    /// one space is the space symbol. With `append_space`, a space entry is added at the end, as
    /// the multilingual models have it; it is a duplicate if the dictionary already holds one.
    ///
    /// # Errors
    /// As [`Charset::new`]; an empty line is an empty entry.
    pub fn from_dictionary(dictionary: &str, append_space: bool) -> Result<Self> {
        let text = dictionary.strip_prefix('\u{feff}').unwrap_or(dictionary);
        let text = text.strip_suffix('\n').unwrap_or(text);
        let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() {
            return Err(CharsetError::Empty.into());
        }
        Self::new(lines.chain(append_space.then_some(" ")))
    }

    /// Reads a dictionary file; see [`Charset::from_dictionary`].
    ///
    /// # Errors
    /// [`CharsetError::Io`], also for a file above 64 MiB or one that is not a regular file;
    /// [`CharsetError::NotUtf8`]; and as [`Charset::from_dictionary`].
    pub fn open(path: impl AsRef<Path>, append_space: bool) -> Result<Self> {
        let path = path.as_ref();
        let bytes = files::read(path, MAX_FILE)
            .map_err(|source| CharsetError::Io { path: path.to_owned(), source })?;
        let text = String::from_utf8(bytes)
            .map_err(|error| CharsetError::NotUtf8 { offset: error.utf8_error().valid_up_to() })?;
        Self::from_dictionary(&text, append_space)
    }

    /// The number of symbols, the blank not counted.
    #[expect(clippy::len_without_is_empty, reason = "a charset is never empty")]
    pub fn len(&self) -> usize {
        self.0.symbols.len()
    }

    /// The number of classes of a network with this charset: the symbols and the blank.
    pub fn classes(&self) -> usize {
        self.0.symbols.len() + 1
    }

    /// The symbol of a class; `None` for the blank and beyond the end.
    pub fn symbol(&self, class: usize) -> Option<&str> {
        self.0.symbols.get(class.checked_sub(1)?).map(String::as_str)
    }

    /// The class of a symbol, if the charset holds it.
    pub fn class(&self, symbol: &str) -> Option<usize> {
        let Shared { symbols, sorted, .. } = &*self.0;
        let find = |&place: &u32| symbols[place as usize].as_str().cmp(symbol);
        Some(sorted[sorted.binary_search_by(find).ok()?] as usize + 1)
    }

    /// The classes of a text, which is cut into symbols from the left, the longest first.
    ///
    /// ```
    /// let charset = svtrv2::Charset::new(["c", "h", "ch"])?;
    /// assert_eq!(charset.encode("chc")?, [3, 1]);
    /// # Ok::<(), svtrv2::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`CharsetError::UnknownSymbol`] with the first character that no symbol begins with.
    pub fn encode(&self, text: &str) -> Result<Vec<usize>> {
        segment(text, self.0.longest, |part| self.class(part))
            .map_err(|symbol| CharsetError::UnknownSymbol { symbol: symbol.to_string() }.into())
    }

    /// The symbols in the order of their classes, from class 1 on.
    pub fn symbols(&self) -> &[String] {
        &self.0.symbols
    }

    /// A number that tells charsets apart: of the symbols and their order (FNV-1a, 64 bits).
    ///
    /// What guides a decoder carries that of the charset it was made for.
    pub fn fingerprint(&self) -> u64 {
        self.0.fingerprint
    }

    /// The charset of some symbols of this one, in the order of this one, and what they were: the old
    /// class of every new class, the blank's first.
    ///
    /// What a network's classifier says of these classes is what is left of it.
    ///
    /// ```
    /// let charset = svtrv2::Charset::from_characters("abcd")?;
    /// let (subset, classes) = charset.subset(["d", "b"])?;
    /// assert_eq!(subset.symbols(), ["b", "d"]);
    /// assert_eq!(classes, [0, 2, 4]);
    /// # Ok::<(), svtrv2::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`CharsetError::UnknownSymbol`] for a symbol that this charset does not hold,
    /// [`CharsetError::Duplicate`] for one that is given twice (with its places in `keep`),
    /// [`CharsetError::Empty`] if there are none.
    pub fn subset<S: AsRef<str>>(
        &self,
        keep: impl IntoIterator<Item = S>,
    ) -> Result<(Charset, Vec<usize>)> {
        // Of every class, the place in `keep` that asks for it.
        let mut places = vec![None; self.classes()];
        for (second, symbol) in keep.into_iter().enumerate() {
            let symbol = symbol.as_ref();
            let class = self
                .class(symbol)
                .ok_or_else(|| CharsetError::UnknownSymbol { symbol: symbol.to_owned() })?;
            if let Some(first) = places[class].replace(second) {
                let symbol = symbol.to_owned();
                return Err(CharsetError::Duplicate { symbol, first, second }.into());
            }
        }
        let kept = (1..self.classes()).filter(|&class| places[class].is_some());
        let classes: Vec<usize> = std::iter::once(Self::BLANK).chain(kept).collect();
        let subset = Self::new(classes.iter().filter_map(|&class| self.symbol(class)))?;
        Ok((subset, classes))
    }

    /// Checks this charset against a network's class count.
    ///
    /// # Errors
    /// [`CharsetError::ClassCount`].
    pub fn check_classes(&self, classes: usize) -> Result<()> {
        if self.classes() == classes {
            Ok(())
        } else {
            Err(CharsetError::ClassCount { symbols: self.len(), classes }.into())
        }
    }

    /// Checks a charset given by the caller against the one that came with the weights.
    pub(crate) fn check_agrees_with(&self, stored: &Charset) -> Result<()> {
        if self.len() != stored.len() {
            return self.check_classes(stored.classes());
        }
        for (index, (given, stored)) in self.symbols().iter().zip(stored.symbols()).enumerate() {
            if given != stored {
                return Err(CharsetError::Contradiction {
                    index,
                    given: given.clone(),
                    stored: stored.clone(),
                }
                .into());
            }
        }
        Ok(())
    }
}

impl Shared {
    fn new(symbols: Vec<String>) -> Self {
        let mut sorted: Vec<u32> = (0..symbols.len() as u32).collect();
        // A stable sort: of equal symbols the first comes first.
        sorted.sort_by(|&a, &b| symbols[a as usize].cmp(&symbols[b as usize]));
        let longest = longest(&symbols);
        const PRIME: u64 = 0x0100_0000_01b3;
        // No UTF-8 text holds the byte 0xff: it ends a symbol.
        let bytes = symbols.iter().flat_map(|symbol| symbol.bytes().chain([0xff]));
        let fingerprint = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(PRIME)
        });
        Shared { symbols, sorted, longest, fingerprint }
    }
}

/// The symbols of a charset in a file, which are counted and measured as they are read.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Symbols(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for Symbols {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Symbols;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of symbols")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Symbols, A::Error> {
                let mut symbols = Vec::new();
                while let Some(symbol) = list.next_element::<String>()? {
                    if symbols.len() >= Charset::MAX_SYMBOLS {
                        let most = Charset::MAX_SYMBOLS;
                        return Err(A::Error::custom(CharsetError::TooMany { most }));
                    }
                    symbols.push(symbol);
                }
                Ok(Symbols(symbols))
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// Code points of the longest of some symbols.
pub(crate) fn longest<S: AsRef<str>>(symbols: impl IntoIterator<Item = S>) -> usize {
    symbols.into_iter().map(|symbol| symbol.as_ref().chars().count()).max().unwrap_or(0)
}

/// Cuts a text from the left into the longest parts that `find` knows, of `longest` code points at
/// the most; the error is the first character that it knows nothing with.
pub(crate) fn segment<T>(
    text: &str,
    longest: usize,
    find: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, char> {
    let mut parts = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let most = rest.char_indices().nth(longest).map_or(rest.len(), |(at, _)| at);
        let found = (1..=most)
            .rev()
            .filter(|&end| rest.is_char_boundary(end))
            .find_map(|end| Some((find(&rest[..end])?, end)));
        let (part, end) = found.ok_or(first)?;
        parts.push(part);
        rest = &rest[end..];
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    /// The fault as text: its source has no equality.
    fn charset_error(result: Result<Charset>) -> String {
        match result {
            Err(Error::Charset(error)) => format!("{error:?}"),
            other => panic!("expected a charset error, got {other:?}"),
        }
    }

    #[test]
    fn english_is_the_published_order() {
        let charset = Charset::english();
        assert_eq!(charset.classes(), 95);
        assert_eq!(charset.symbols().concat(), ENGLISH);
        let rebuilt = Charset::from_characters(ENGLISH).unwrap();
        assert_eq!(rebuilt, charset);
        for (symbol, class) in [("0", 1), ("9", 10), ("a", 11), ("A", 37), ("!", 63), ("~", 94)] {
            assert_eq!(charset.class(symbol), Some(class), "{symbol}");
            assert_eq!(charset.symbol(class), Some(symbol));
        }
        assert_eq!(charset.symbol(95), None);
        assert_eq!(charset.class(" "), None);
    }

    #[test]
    fn dictionaries() {
        let cases: [(&str, &str, bool, &[&str]); 6] = [
            ("unix", "a\nb\n", false, &["a", "b"]),
            ("no last line end", "a\nb", false, &["a", "b"]),
            ("windows with a mark", "\u{feff}a\r\nb\r\n", false, &["a", "b"]),
            ("appended space", "a\nb\n", true, &["a", "b", " "]),
            ("space as an entry", "a\n \nb\n", false, &["a", " ", "b"]),
            ("several code points", "e\u{301}\n👩‍👧\nद्ध\n", false, &["e\u{301}", "👩‍👧", "द्ध"]),
        ];
        for (name, text, space, expected) in cases {
            let charset = Charset::from_dictionary(text, space).unwrap();
            assert_eq!(charset.symbols(), expected, "{name}");
        }
    }

    #[test]
    fn a_multilingual_dictionary() {
        // As many symbols as the networks of 50 languages have: ideographs, full-width forms, both
        // spaces, letters with marks.
        let ranges = [0xff01..0xff61, 0xc0..0x250, 0x370..0x800, 0x4e00..0x9200];
        let single = ranges.into_iter().flatten().filter_map(char::from_u32).map(String::from);
        let odd = ["\u{3000}", "e\u{301}", "\u{a0}", "\u{85}", "\u{2028}"].map(String::from);
        let mut symbols: Vec<String> = odd.into_iter().chain(single).take(18_708).collect();
        let dictionary = symbols.join("\n") + "\n";
        let charset = Charset::from_dictionary(&dictionary, true).unwrap();
        symbols.push(" ".into());
        assert_eq!((charset.symbols(), charset.len()), (&symbols[..], 18_709));
        for (class, symbol) in (1..).zip(&symbols) {
            assert_eq!(
                (charset.class(symbol), charset.symbol(class)),
                (Some(class), Some(&**symbol))
            );
        }
        assert_eq!(charset.class("\u{3000}"), Some(1));
        assert_ne!(charset.class("Ａ"), charset.class("A"));
        let json = serde_json::to_string(&Symbols(symbols.clone())).unwrap();
        let stored: Symbols = serde_json::from_str(&json).unwrap();
        assert_eq!(Charset::new(stored.0).unwrap(), charset);
        // A clone shares the symbols.
        assert!(std::ptr::eq(charset.clone().symbols(), charset.symbols()));
    }

    #[test]
    fn subsets() {
        let charset = Charset::new(["b", "ch", " ", "a"]).unwrap();
        let (subset, classes) = charset.subset(["a", "ch", "b"]).unwrap();
        assert_eq!(
            (subset.symbols(), &classes[..]),
            (&["b", "ch", "a"].map(String::from)[..], &[0, 1, 2, 4][..])
        );
        for (class, &old) in classes.iter().enumerate() {
            assert_eq!(subset.symbol(class), charset.symbol(old));
        }
        assert_eq!(charset.subset(charset.symbols()).unwrap().0, charset);
        let fault = |keep: &[&str]| charset_error(charset.subset(keep).map(|(subset, _)| subset));
        assert_eq!(fault(&[]), "Empty");
        assert_eq!(fault(&["a", "c"]), "UnknownSymbol { symbol: \"c\" }");
        let duplicate = CharsetError::Duplicate { symbol: "a".into(), first: 0, second: 2 };
        assert_eq!(fault(&["a", "b", "a"]), format!("{duplicate:?}"));
    }

    #[test]
    fn faults() {
        let long = format!("a\n{}\n", "é".repeat(129));
        let cases: [(&str, &str, bool, CharsetError); 8] = [
            ("long", &long, false, CharsetError::TooLong { index: 1, bytes: 258, most: 256 }),
            ("nothing", "", false, CharsetError::Empty),
            ("only a mark", "\u{feff}", false, CharsetError::Empty),
            ("only a line end", "\n", false, CharsetError::Empty),
            ("empty line", "a\n\nb\n", false, CharsetError::EmptyEntry { index: 1 }),
            ("empty last line", "a\n\n", false, CharsetError::EmptyEntry { index: 1 }),
            (
                "repeated",
                "a\nb\na\n",
                false,
                CharsetError::Duplicate { symbol: "a".into(), first: 0, second: 2 },
            ),
            (
                "space twice",
                "a\n \n",
                true,
                CharsetError::Duplicate { symbol: " ".into(), first: 1, second: 2 },
            ),
        ];
        for (name, text, space, expected) in cases {
            let found = charset_error(Charset::from_dictionary(text, space));
            assert_eq!(found, format!("{expected:?}"), "{name}");
        }
        let most = Charset::MAX_SYMBOLS;
        let symbols = |count: usize| (0..count).map(|i| format!("{i:x}"));
        assert_eq!(Charset::new(symbols(most)).unwrap().len(), most);
        let endless = (0u64..).map(|i| i.to_string());
        let too_many = CharsetError::TooMany { most };
        assert_eq!(charset_error(Charset::new(endless)), format!("{too_many:?}"));
        let json = serde_json::to_string(&symbols(most + 1).collect::<Vec<_>>()).unwrap();
        let error = serde_json::from_str::<Symbols>(&json).unwrap_err().to_string();
        assert!(error.contains("more than 262144 symbols"), "{error}");
    }
}
