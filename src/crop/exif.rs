//! The orientation in EXIF metadata.

/// EXIF metadata: a TIFF file without pixels.
pub(crate) struct Exif<'a>(pub(crate) &'a [u8]);

/// How an image is to be turned: for a pixel of the turned image, x and y are swapped, then
/// counted from the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orientation {
    pub(crate) transpose: bool,
    pub(crate) mirror_x: bool,
    pub(crate) mirror_y: bool,
}

/// The tag of the orientation (EXIF 2.32, section 4.6.4).
const ORIENTATION: u16 = 0x0112;
/// The types of values of 16 and of 32 bits. The standard wants 16; some writers use 32.
const SHORT: u16 = 3;
const LONG: u16 = 4;

impl Exif<'_> {
    /// What the first directory says; `None` if that is nothing or leaves the image as it is.
    pub(crate) fn orientation(&self) -> Option<Orientation> {
        let little = match self.0.get(..4)? {
            b"II\x2a\x00" => true,
            b"MM\x00\x2a" => false,
            _ => return None,
        };
        let short = |at: usize| {
            let bytes = self.0.get(at..at.checked_add(2)?)?.try_into().ok()?;
            Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
        };
        let (a, b) = (usize::from(short(4)?), usize::from(short(6)?));
        let directory = if little { a | b << 16 } else { a << 16 | b };
        // Beyond the metadata there is nothing, so that the sums below cannot overflow.
        let first = directory.checked_add(2).filter(|&first| first <= self.0.len())?;
        let mut entries = (0..usize::from(short(directory)?)).map(|entry| first + 12 * entry);
        let entry = entries.find(|&entry| short(entry) == Some(ORIENTATION))?;
        let value = match (short(entry + 2)?, little) {
            (SHORT, _) | (LONG, true) => short(entry + 8)?,
            (LONG, false) => short(entry + 10)?,
            _ => return None,
        };
        let (transpose, mirror_x, mirror_y) = match value {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, false, true),
            7 => (true, true, true),
            8 => (true, true, false),
            _ => return None,
        };
        Some(Orientation { transpose, mirror_x, mirror_y })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_byte_orders() {
        let big = b"MM\0\x2a\0\0\0\x08\0\x02\x01\0\0\x03\0\0\0\x01\0\x05\0\0\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
        let little = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let expected = Orientation { transpose: true, mirror_x: false, mirror_y: true };
        for exif in [big.as_slice(), little] {
            assert_eq!(Exif(exif).orientation(), Some(expected), "{exif:?}");
            for cut in 0..exif.len() - 2 {
                assert_eq!(Exif(&exif[..cut]).orientation(), None, "{cut} bytes of {exif:?}");
            }
        }
        let long = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x06";
        assert_eq!(Exif(long).orientation(), Some(expected));
        let long = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x06\0\0\0";
        assert_eq!(Exif(long).orientation(), Some(expected));
        let far = b"II\x2a\0\xff\xff\xff\xff\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        assert_eq!(Exif(far).orientation(), None);
    }
}
