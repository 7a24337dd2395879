//! Recognition results as tab-separated values.

use std::borrow::Cow;
use std::io::{self, Write};

use super::measure::Measured;

/// Writes the first setting's results: a header and one line a crop, fields between tabs.
pub fn write(file: &mut dyn Write, measured: &[Measured]) -> io::Result<()> {
    writeln!(file, "path\tlabel\tprediction\tscore\tconfidence")?;
    for set in measured {
        for crop in &set.crops {
            let result = &crop.results[0];
            writeln!(
                file,
                "{}/{}\t{}\t{}\t{}\t{}",
                escaped(&set.name),
                escaped(&crop.name),
                escaped(&crop.label),
                escaped(&result.text),
                result.score,
                result.confidence,
            )?;
        }
    }
    Ok(())
}

/// A field without tabs and line breaks: these and the backslash are written as `\t`, `\n`, `\r` and
/// `\\`.
fn escaped(field: &str) -> Cow<'_, str> {
    if !field.contains(['\t', '\n', '\r', '\\']) {
        return Cow::Borrowed(field);
    }
    let mut text = String::with_capacity(field.len() + 1);
    for c in field.chars() {
        match c {
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\\' => text.push_str("\\\\"),
            other => text.push(other),
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_hold_no_separator() {
        for (field, expected) in [
            ("", ""),
            ("\"quoted\", 5\"", "\"quoted\", 5\""),
            ("a\tb", "a\\tb"),
            ("a\r\nb", "a\\r\\nb"),
            ("C:\\temp", "C:\\\\temp"),
            ("\\t", "\\\\t"),
        ] {
            assert_eq!(escaped(field), expected, "{field:?}");
        }
    }
}
