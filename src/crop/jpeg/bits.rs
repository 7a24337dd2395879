//! Bits of coded pixels.

use super::tables::Huffman;
use crate::crop::decoded::damaged;
use crate::error::ImageError;

/// Reads the bits of a scan; a zero byte behind 0xff is left out.
pub(super) struct Bits<'a> {
    coded: &'a [u8],
    at: usize,
    /// The next bits, from the highest on.
    waiting: u64,
    count: u32,
}

pub(super) fn truncated() -> ImageError {
    damaged("the JPEG file is truncated: its pixels end early")
}

fn no_code() -> ImageError {
    damaged("the JPEG file's pixels are damaged: a code that is none")
}

impl<'a> Bits<'a> {
    pub(super) fn new(coded: &'a [u8]) -> Self {
        Bits { coded, at: 0, waiting: 0, count: 0 }
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let Some(&byte) = self.coded.get(self.at) else { return };
            if byte == 0xff {
                // A marker ends the bits.
                if self.coded.get(self.at + 1) != Some(&0) {
                    return;
                }
                self.at += 1;
            }
            self.at += 1;
            self.waiting |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    fn skip(&mut self, count: u32) -> Result<(), ImageError> {
        if count > self.count {
            return Err(truncated());
        }
        self.waiting <<= count;
        self.count -= count;
        Ok(())
    }

    /// At most 16 bits as a number.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, ImageError> {
        if count == 0 {
            return Ok(0);
        }
        if self.count < count {
            self.fill();
        }
        let bits = (self.waiting >> (64 - count)) as u32;
        self.skip(count)?;
        Ok(bits)
    }

    pub(super) fn bit(&mut self) -> Result<bool, ImageError> {
        Ok(self.take(1)? == 1)
    }

    /// The symbol of the next code.
    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8, ImageError> {
        if self.count < 16 {
            self.fill();
        }
        let Some((length, symbol)) = table.find((self.waiting >> 48) as u16) else {
            return Err(if self.count < 16 { truncated() } else { no_code() });
        };
        self.skip(length)?;
        Ok(symbol)
    }

    /// A number of so many bits, negative ones as the complement (T.81, section F.2.2.1).
    pub(super) fn signed(&mut self, count: u32) -> Result<i32, ImageError> {
        let bits = self.take(count)? as i32;
        let is_positive = count == 0 || bits >> (count - 1) == 1;
        Ok(if is_positive { bits } else { bits - (1 << count) + 1 })
    }

    /// Passes the next restart marker, which must be that of this number.
    pub(super) fn restart(&mut self, number: usize) -> Result<(), ImageError> {
        self.fill();
        // Fewer than eight bits are left of the last byte.
        let rest = self.coded.get(self.at..).unwrap_or_default();
        let fill = rest.iter().take_while(|&&byte| byte == 0xff).count();
        let code = rest.get(fill).copied();
        if self.count >= 8 || fill == 0 || code != Some(0xd0 | (number % 8) as u8) {
            return Err(damaged(format!("no JPEG restart marker {}", number % 8)));
        }
        self.at += fill + 1;
        (self.waiting, self.count) = (0, 0);
        Ok(())
    }
}
