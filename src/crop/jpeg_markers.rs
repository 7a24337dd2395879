//! The markers of a JPEG file.

/// What the markers of a JPEG file tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Markers {
    /// The end marker is there, so the file is complete.
    pub(crate) ended: bool,
    /// Adobe's marker is there.
    pub(crate) adobe: bool,
}

impl Markers {
    /// Follows the markers (ITU T.81, annex B) to the end of the first image. Segments, such as
    /// metadata with a thumbnail, are skipped by their length; between them, bytes that are no
    /// marker are passed over, which is how coded pixels are skipped.
    pub(crate) fn find(bytes: &[u8]) -> Self {
        let mut markers = Markers::default();
        let mut at = 0;
        while let [0xff, code, rest @ ..] = bytes.get(at..).unwrap_or_default() {
            at += 2;
            match code {
                0xd9 => {
                    markers.ended = true;
                    return markers;
                }
                // Filling, start of image, restarts: nothing follows.
                0xff => at -= 1,
                0x00 | 0x01 | 0xd0..=0xd8 => {}
                _ => {
                    let &[high, low, ref segment @ ..] = rest else { return markers };
                    markers.adobe |= *code == 0xee && segment.starts_with(b"Adobe");
                    at += usize::from(u16::from_be_bytes([high, low])).max(2);
                }
            }
            let rest = bytes.get(at..).unwrap_or_default();
            at += rest.iter().position(|&byte| byte == 0xff).unwrap_or(rest.len());
        }
        markers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends() {
        let cases: [(&str, &[u8], bool, bool); 6] = [
            ("nothing", b"", false, false),
            ("an end", b"\xff\xd8\xff\xd9", true, false),
            ("the end of a thumbnail", b"\xff\xd8\xff\xe1\0\x06\xff\xd8\xff\xd9", false, false),
            (
                "coded pixels",
                b"\xff\xd8\xff\xda\0\x04\0\0a\xff\0\xff\xd0b\xff\xff\xd9",
                true,
                false,
            ),
            ("Adobe", b"\xff\xd8\xff\xee\0\x07Adobe\xff\xd9rest", true, true),
            ("a segment beyond the end", b"\xff\xd8\xff\xdb\xff\xff\xff\xd9", false, false),
        ];
        for (name, bytes, ended, adobe) in cases {
            assert_eq!(Markers::find(bytes), Markers { ended, adobe }, "{name}");
        }
    }
}
