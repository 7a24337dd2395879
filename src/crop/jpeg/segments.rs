//! The markers of a JPEG file (ITU T.81, annex B).

use crate::crop::decoded::damaged;
use crate::error::ImageError;

/// A marker, and the bytes of its segment.
pub(super) struct Segment<'a> {
    pub(super) code: u8,
    pub(super) payload: &'a [u8],
}

/// Goes through a file from marker to marker.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// End of image.
pub(super) const END: u8 = 0xd9;

impl<'a> Segments<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Segments { bytes, at: 0 }
    }

    /// The next marker that has a segment, or the end marker; `None` where the bytes end.
    ///
    /// Bytes that are no marker are passed over, as libjpeg does.
    pub(super) fn next(&mut self) -> Result<Option<Segment<'a>>, ImageError> {
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(marker) = rest.iter().position(|&byte| byte == 0xff) else {
                return Ok(None);
            };
            // Any number of fill bytes may precede the code.
            let Some(code) = rest[marker..].iter().position(|&byte| byte != 0xff) else {
                return Ok(None);
            };
            let code_at = self.at + marker + code;
            let code = self.bytes[code_at];
            self.at = code_at + 1;
            match code {
                // A stuffed byte, restarts, start of image: no segment follows.
                0x00 | 0x01 | 0xd0..=0xd8 => {}
                END => return Ok(Some(Segment { code, payload: &[] })),
                _ => return self.segment(code).map(Some),
            }
        }
    }

    fn segment(&mut self, code: u8) -> Result<Segment<'a>, ImageError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.first_chunk().map_or(0, |&bytes| usize::from(u16::from_be_bytes(bytes)));
        let Some(payload) = rest.get(2..length) else {
            let left = rest.len();
            return Err(damaged(format!(
                "JPEG segment {code:#04x} of {length} bytes, {left} are left"
            )));
        };
        self.at += length;
        Ok(Segment { code, payload })
    }

    /// Coded pixels: from here to the next marker that ends them.
    pub(super) fn coded(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let mut end = 0;
        while let Some(marker) = rest[end..].iter().position(|&byte| byte == 0xff) {
            end += marker;
            match rest.get(end + 1) {
                // A stuffed byte, a restart, a fill byte.
                Some(0x00 | 0xd0..=0xd7) => end += 2,
                Some(0xff) => end += 1,
                Some(_) => {
                    self.at += end;
                    return &rest[..end];
                }
                None => break,
            }
        }
        self.at = self.bytes.len();
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorReport;

    fn codes(bytes: &[u8]) -> Result<Vec<u8>, String> {
        let mut segments = Segments::new(bytes);
        let mut codes = Vec::new();
        while let Some(segment) =
            segments.next().map_err(|error| ErrorReport::new(&error).to_string())?
        {
            codes.push(segment.code);
            if segment.code == 0xda {
                segments.coded();
            }
        }
        Ok(codes)
    }

    #[test]
    fn markers() {
        let cases: [(&str, &[u8], &[u8]); 6] = [
            ("nothing", b"", &[]),
            ("an end", b"\xff\xd8\xff\xd9rest", &[END]),
            ("the end of a thumbnail", b"\xff\xd8\xff\xe1\0\x06\xff\xd8\xff\xd9", &[0xe1]),
            ("pixels", b"\xff\xd8\xff\xda\0\x04\0\0a\xff\0\xff\xd0b\xff\xff\xd9", &[0xda, END]),
            ("no end", b"\xff\xd8\xff\xda\0\x04\0\0a\xff\0\xff\xd0b\xff", &[0xda]),
            ("bytes between", b"\xff\xd8ab\xff\xff\xfe\0\x02\0\xff\xd9", &[0xfe, END]),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(codes(bytes).as_deref(), Ok(expected), "{name}");
        }
        for (name, bytes) in [
            ("beyond the end", b"\xff\xd8\xff\xdb\xff\xff\xff\xd9".as_slice()),
            ("shorter than its length", b"\xff\xd8\xff\xdb\0\x01\xff\xd9"),
            ("no length", b"\xff\xd8\xff\xdb"),
        ] {
            assert!(codes(bytes).is_err_and(|error| error.contains("segment 0xdb")), "{name}");
        }
    }
}
