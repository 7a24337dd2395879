//! Image files and a list of their labels.

use std::path::{Path, PathBuf};

use super::{DataError, Sample};
use crate::files;

/// The longest image file in bytes.
const MAX_IMAGE: u64 = 1 << 30;

pub(super) struct Folder {
    list: PathBuf,
    root: PathBuf,
    /// The list, of which lines are parsed as they are asked for: a line costs 12 bytes.
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// Whether tabs stand between paths and labels.
    tabs: bool,
}

/// A line that is not empty: its number from 1, and where it lies in the list.
struct Line {
    number: u32,
    start: u32,
    end: u32,
}

impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder").field("list", &self.list).field("len", &self.len()).finish()
    }
}

impl Folder {
    pub(super) fn open(list: &Path) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: list.to_owned(), source };
        let bytes = files::read(list, files::MAX_TEXT).map_err(io)?;
        let mut start = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        let (mut lines, mut tabs) = (Vec::new(), false);
        for (line, number) in bytes[start..].split(|&byte| byte == b'\n').zip(1u32..) {
            let end = start + line.strip_suffix(b"\r").unwrap_or(line).len();
            tabs |= line.contains(&b'\t') && std::str::from_utf8(line).is_ok();
            if start < end {
                // The longest list has less than 2^32 bytes.
                lines.push(Line { number, start: start as u32, end: end as u32 });
            }
            start += line.len() + 1;
        }
        let root = list.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Folder { list: list.to_owned(), root, bytes, lines, tabs })
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The path and the label of a sample.
    pub(super) fn entry(&self, index: usize) -> Result<(String, String), DataError> {
        let missing = || DataError::Index { index, len: self.len() };
        let Line { number, start, end } = self.lines.get(index).ok_or_else(missing)?;
        let line = self.bytes.get(*start as usize..*end as usize).unwrap_or_default();
        // A line that is not UTF-8 is one bad sample, not a bad list.
        let entry = std::str::from_utf8(line).ok().and_then(|line| parse(line, self.tabs));
        let bad = || DataError::Line { path: self.list.clone(), line: *number as usize };
        entry.ok_or_else(bad)
    }

    pub(super) fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let (name, label) = self.entry(index)?;
        let path = self.root.join(&name);
        let image = files::read(&path, MAX_IMAGE)
            .map_err(|source| DataError::Io { path: path.clone(), source })?;
        Ok(Sample { name, image, label })
    }
}

/// A line's path and label.
fn parse(line: &str, tabs: bool) -> Option<(String, String)> {
    let (path, label) = if tabs {
        line.split_once('\t')?
    } else if let Some((path, quoted)) = line.split_once(',').filter(|(_, rest)| is_quoted(rest)) {
        let inner = quoted.trim();
        let label = inner[1..inner.len() - 1].replace("\\\"", "\"").replace("\\\\", "\\");
        return Some((path.trim().to_owned(), label));
    } else {
        line.split_once(' ')?
    };
    (!path.is_empty()).then(|| (path.to_owned(), label.to_owned()))
}

fn is_quoted(text: &str) -> bool {
    let text = text.trim();
    text.len() >= 2 && text.starts_with('"') && text.ends_with('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let pair = |path: &str, label: &str| Some((path.to_owned(), label.to_owned()));
        for (line, tabs, expected) in [
            ("a.png\tHello world", true, pair("a.png", "Hello world")),
            ("a.png\t", true, pair("a.png", "")),
            ("a b.png\tx\ty", true, pair("a b.png", "x\ty")),
            ("a.png Hello", true, None),
            ("\tx", true, None),
            ("a.png Hello world", false, pair("a.png", "Hello world")),
            ("word_1.png, \"Tiredness\"", false, pair("word_1.png", "Tiredness")),
            (r#"w.png, "a\"b, \\c""#, false, pair("w.png", r#"a"b, \c"#)),
            ("a.png", false, None),
            ("w.png, \"", false, pair("w.png,", "\"")),
        ] {
            assert_eq!(parse(line, tabs), expected, "{line:?}");
        }
    }

    #[test]
    fn lists() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("labels.tsv");
        std::fs::write(&list, b"\xef\xbb\xbfa.png\tA\r\n\n\xff\tB\nmissing.png\tC\nnone\n")
            .unwrap();
        std::fs::write(folder.path().join("a.png"), b"image").unwrap();
        let folder = Folder::open(&list).unwrap();
        assert_eq!(folder.len(), 4);
        let sample = folder.sample(0).unwrap();
        assert_eq!((sample.image.as_slice(), sample.label.as_str()), (&b"image"[..], "A"));
        assert!(matches!(folder.sample(1), Err(DataError::Line { line: 3, .. })));
        assert!(matches!(folder.sample(2), Err(DataError::Io { .. })));
        assert_eq!(folder.entry(2).unwrap().1, "C");
        assert!(matches!(folder.sample(3), Err(DataError::Line { line: 5, .. })));
        assert!(matches!(folder.sample(4), Err(DataError::Index { index: 4, len: 4 })));
    }
}
