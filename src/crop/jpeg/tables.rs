//! Quantisation and Huffman tables, as they stand in a file.

use crate::crop::decoded::damaged;
use crate::error::ImageError;

/// Where the coefficients of a zigzag stand in a block (T.81, figure A.6).
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Steps of quantisation of a block, row after row.
pub(super) type Quantization = [u16; 64];

/// Reads the tables of a DQT segment: each with its number, 0 to 3.
pub(super) fn quantization(
    mut payload: &[u8],
    mut table: impl FnMut(usize, Quantization),
) -> Result<(), ImageError> {
    while let Some((&head, rest)) = payload.split_first() {
        let (bytes, number) = (usize::from(head >> 4) + 1, usize::from(head & 15));
        let steps = rest.get(..64 * bytes).filter(|_| bytes <= 2 && number < 4);
        let steps = steps.ok_or_else(|| damaged("a JPEG quantisation table is damaged"))?;
        let mut found = [0; 64];
        for (&place, step) in ZIGZAG.iter().zip(steps.chunks_exact(bytes)) {
            found[place] = step.iter().fold(0, |value, &byte| value << 8 | u16::from(byte));
        }
        table(number, found);
        payload = &rest[64 * bytes..];
    }
    Ok(())
}

/// Codes are looked up by so many bits at a time.
const LOOKUP_BITS: u32 = 9;

/// A Huffman code.
#[derive(Clone)]
pub(super) struct Huffman {
    /// Length and symbol by the next [`LOOKUP_BITS`] bits; length 0 where the code is longer.
    lookup: Vec<(u8, u8)>,
    /// By length: the first code beyond those of that length, aligned to 16 bits.
    limits: [u32; 17],
    /// By length: what is added to a code for the place of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

/// Whether a table codes sums (DC) or runs and coefficients (AC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Dc,
    Ac,
}

/// Reads the tables of a DHT segment: each with its class and number, 0 to 3.
pub(super) fn huffman(
    mut payload: &[u8],
    mut table: impl FnMut(Class, usize, Huffman),
) -> Result<(), ImageError> {
    let broken = || damaged("a JPEG Huffman table is damaged");
    while let Some((&head, rest)) = payload.split_first() {
        let number = usize::from(head & 15);
        let class = match head >> 4 {
            0 if number < 4 => Class::Dc,
            1 if number < 4 => Class::Ac,
            _ => return Err(broken()),
        };
        let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(broken)?;
        let total: usize = counts.iter().map(|&count| usize::from(count)).sum();
        let symbols = rest.get(..total).filter(|_| total <= 256).ok_or_else(broken)?;
        // Sums have at most 15 bits.
        if class == Class::Dc && symbols.iter().any(|&bits| bits > 15) {
            return Err(broken());
        }
        table(class, number, Huffman::new(counts, symbols).ok_or_else(broken)?);
        payload = &rest[total..];
    }
    Ok(())
}

impl Huffman {
    /// The canonical code with so many symbols of each length (T.81, annex C); `None` if there are
    /// more than such a code has. No code consists of ones alone.
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut lookup = vec![(0, 0); 1 << LOOKUP_BITS];
        let (mut limits, mut offsets) = ([0; 17], [0; 17]);
        let (mut code, mut place) = (0u32, 0usize);
        for (length, &count) in (1u32..).zip(counts) {
            offsets[length as usize] = place as i32 - code as i32;
            for _ in 0..count {
                if length <= LOOKUP_BITS {
                    let first = (code as usize) << (LOOKUP_BITS - length);
                    let entries = lookup.get_mut(first..first + (1 << (LOOKUP_BITS - length)))?;
                    entries.fill((length as u8, *symbols.get(place)?));
                }
                code += 1;
                place += 1;
            }
            if count > 0 && code >= 1 << length {
                return None;
            }
            limits[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(Huffman { lookup, limits, offsets, symbols: symbols.to_vec() })
    }

    /// The length of the code that 16 bits begin with, and its symbol; `None` for no code.
    pub(super) fn find(&self, bits: u16) -> Option<(u32, u8)> {
        let (length, symbol) = self.lookup[usize::from(bits >> (16 - LOOKUP_BITS))];
        if length > 0 {
            return Some((u32::from(length), symbol));
        }
        let bits = u32::from(bits);
        let length = (LOOKUP_BITS + 1..=16).find(|&length| bits < self.limits[length as usize])?;
        let place = (bits >> (16 - length)) as i32 + self.offsets[length as usize];
        Some((length, *self.symbols.get(usize::try_from(place).ok()?)?))
    }
}

/// The tables that files without any are coded with, such as the frames of MJPEG (T.81, section K.3),
/// as a DHT segment.
#[rustfmt::skip]
pub(super) const STANDARD: &[u8] = &[
    0x00, 0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0,
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    0x10, 0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d,
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07,
    0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0,
    0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28,
    0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49,
    0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69,
    0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
    0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
    0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5,
    0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
    0xf9, 0xfa,
    0x01, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    0x11, 0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77,
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71,
    0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0,
    0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26,
    0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
    0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
    0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87,
    0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5,
    0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
    0xf9, 0xfa,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let mut found = Vec::new();
        huffman(STANDARD, |class, number, table| found.push((class, number, table))).unwrap();
        let kinds: Vec<_> = found.iter().map(|(class, number, _)| (*class, *number)).collect();
        assert_eq!(kinds, [(Class::Dc, 0), (Class::Ac, 0), (Class::Dc, 1), (Class::Ac, 1)]);
        // T.81, table K.3: 00 is 0, 010 is 1, 111111110 is 11; table K.5: 1010 ends a block.
        let dc = &found[0].2;
        assert_eq!(dc.find(0b0011 << 12), Some((2, 0)));
        assert_eq!(dc.find(0b0101 << 12), Some((3, 1)));
        assert_eq!(dc.find(0b1_1111_1110 << 7), Some((9, 11)));
        assert_eq!(dc.find(u16::MAX), None);
        assert_eq!(found[1].2.find(0b1010 << 12), Some((4, 0)));
        // The longest codes of table K.5: 1111111111111110 is 0xfa.
        assert_eq!(found[1].2.find(0xfffe), Some((16, 0xfa)));
        for (_, _, table) in &found {
            let lengths: f64 =
                (0..=u16::MAX).filter_map(|bits| table.find(bits)).map(|_| 1.0).sum();
            assert!(lengths < 65536.0, "a code of ones alone");
        }
    }

    #[test]
    fn tables_that_are_none() {
        let table = |head: u8, counts: [u8; 16], symbols: usize| {
            let mut payload = vec![head];
            payload.extend(counts);
            payload.extend(vec![1; symbols]);
            payload
        };
        let counts = |length: usize, count: u8| {
            let mut counts = [0; 16];
            counts[length - 1] = count;
            counts
        };
        let cases = [
            ("three codes of a bit", table(0, counts(1, 3), 3)),
            ("ones alone", table(0, counts(1, 2), 2)),
            ("too few symbols", table(0, counts(8, 9), 8)),
            (
                "300 symbols",
                table(
                    0x10,
                    {
                        let mut c = counts(15, 255);
                        c[15] = 45;
                        c
                    },
                    300,
                ),
            ),
            ("class 2", table(0x20, counts(2, 1), 1)),
            ("number 4", table(0x04, counts(2, 1), 1)),
            ("cut", vec![0, 1, 2]),
        ];
        for (name, payload) in cases {
            assert!(huffman(&payload, |_, _, _| {}).is_err(), "{name}");
        }
        assert!(huffman(&table(0, counts(2, 3), 3), |_, _, _| {}).is_ok());
        assert!(quantization(&[0; 64], |_, _| {}).is_err());
        assert!(quantization(&[4; 65], |_, _| {}).is_err());
        assert!(quantization(&[0x20; 193], |_, _| {}).is_err());
        let mut found = Vec::new();
        quantization(&[3; 65], |number, steps| found.push((number, steps))).unwrap();
        assert_eq!(found, [(3, [3; 64])]);
    }
}
