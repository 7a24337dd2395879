//! The fields of a protocol buffer, in place: nothing is copied or allocated.
//!
//! The encoding is that of <https://protobuf.dev/programming-guides/encoding/>.

use std::ops::Range;

/// A field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Varint(u64),
    /// Text, bytes, a message, or packed numbers: where they lie in the file.
    Bytes(Range<usize>),
    /// A number of 4 or 8 bytes: where they lie in the file.
    Fixed(Range<usize>),
}

/// The fields of a message, in the order of the file: number and value.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    file: &'a [u8],
    /// What is left of the message.
    rest: Range<usize>,
}

impl<'a> Fields<'a> {
    /// The message that lies in a part of a file; a part beyond the file has no fields.
    pub(super) fn new(file: &'a [u8], message: Range<usize>) -> Self {
        let end = message.end.min(file.len());
        Fields { file, rest: message.start.min(end)..end }
    }

    /// A number in 1 to 10 bytes.
    pub(super) fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?;
            let byte = self.file.get(byte.start).copied().unwrap_or_default();
            // The tenth byte holds one bit.
            let part = u64::from(byte & 127);
            if shift == 63 && part > 1 {
                return Err("a number has more than 64 bits");
            }
            value |= part << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err("a number does not end")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, count: usize) -> Result<Range<usize>, &'static str> {
        let start = self.rest.start;
        let end = start.checked_add(count).filter(|&end| end <= self.rest.end);
        let end = end.ok_or("a field breaks off")?;
        self.rest.start = end;
        Ok(start..end)
    }

    fn field(&mut self) -> Result<(u64, Value), &'static str> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| "a field breaks off")?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed(self.take(4)?),
            _ => return Err("a field of an unknown kind"),
        };
        match tag >> 3 {
            0 => Err("a field with the number 0"),
            number => Ok((number, value)),
        }
    }
}

/// After a fault there are no more fields.
impl Iterator for Fields<'_> {
    type Item = Result<(u64, Value), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest.start = self.rest.end;
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u64, Value)>, &'static str> {
        Fields::new(bytes, 0..bytes.len()).collect()
    }

    #[test]
    fn kinds_of_fields() {
        let bytes = b"\x08\x96\x01\x12\x02hi\x1d1234\x21abcdefgh\xfa\x07\x00";
        let expected = vec![
            (1, Value::Varint(150)),
            (2, Value::Bytes(5..7)),
            (3, Value::Fixed(8..12)),
            (4, Value::Fixed(13..21)),
            (127, Value::Bytes(24..24)),
        ];
        assert_eq!(fields(bytes).unwrap(), expected);
        let largest = [&[0x08][..], &[0xff; 9], &[0x01]].concat();
        assert_eq!(fields(&largest).unwrap(), [(1, Value::Varint(u64::MAX))]);
    }

    #[test]
    fn faults() {
        for (bytes, part) in [
            (&b"\x08"[..], "breaks off"),
            (b"\x12\x05hi", "breaks off"),
            (b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "breaks off"),
            (b"\x1d123", "breaks off"),
            (b"\x0b", "unknown kind"),
            (b"\x00\x00", "number 0"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "64 bits"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "64 bits"),
        ] {
            let fault = fields(bytes).unwrap_err();
            assert!(fault.contains(part), "{bytes:?}: {fault}");
        }
        assert!(Fields::new(b"\x08\x01", 5..9).next().is_none());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            for (_, value) in Fields::new(&bytes, 0..bytes.len()).flatten() {
                if let Value::Bytes(range) | Value::Fixed(range) = value {
                    prop_assert!(range.end <= bytes.len());
                }
            }
        }
    }
}
