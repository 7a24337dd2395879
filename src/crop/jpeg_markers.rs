//! The markers of a JPEG file.

/// Whether the end marker of the first image is there: the file is not truncated.
///
/// Follows the markers (ITU T.81, annex B). Segments, such as metadata with a thumbnail, are
/// skipped by their length; between them, bytes that are no marker are passed over, which is how
/// coded pixels are skipped.
pub(crate) fn has_end(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let [0xff, code, rest @ ..] = bytes.get(at..).unwrap_or_default() {
        at += 2;
        match code {
            0xd9 => return true,
            // Filling.
            0xff => at -= 1,
            // A stuffed byte, restarts, start of image: nothing follows.
            0x00 | 0x01 | 0xd0..=0xd8 => {}
            _ => {
                let &[high, low, ..] = rest else { return false };
                at += usize::from(u16::from_be_bytes([high, low])).max(2);
            }
        }
        let rest = bytes.get(at..).unwrap_or_default();
        at += rest.iter().position(|&byte| byte == 0xff).unwrap_or(rest.len());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let cases: [(&str, &[u8], bool); 5] = [
            ("nothing", b"", false),
            ("an end", b"\xff\xd8\xff\xd9rest", true),
            ("the end of a thumbnail", b"\xff\xd8\xff\xe1\0\x06\xff\xd8\xff\xd9", false),
            ("coded pixels", b"\xff\xd8\xff\xda\0\x04\0\0a\xff\0\xff\xd0b\xff\xff\xd9", true),
            ("a segment beyond the end", b"\xff\xd8\xff\xdb\xff\xff\xff\xd9", false),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(has_end(bytes), expected, "{name}");
        }
    }
}
