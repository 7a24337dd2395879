//! Entropy coding of small numbers: range asymmetric numeral systems (rANS; Duda, 2013,
//! arXiv 1311.2540) with one static table of frequencies.
//!
//! A coded sequence is, in this order:
//!
//! 1. the frequency of every symbol of the alphabet, of 4096 in all, as a LEB128 number (one byte
//!    below 128, otherwise two);
//! 2. the four states that decoding starts with, `u32` each;
//! 3. `u16` words to the end.
//!
//! All numbers are little-endian. Symbol `i` is decoded with state `i % 4`:
//!
//! ```text
//! slot  = state % 4096                        its symbol s has start[s] <= slot < start[s + 1]
//! state = frequency[s] * (state / 4096) + slot - start[s]
//! if state < 65536 { state = state * 65536 + next word }
//! ```
//!
//! At the end all words are consumed and all states are 65536, which the encoder started with:
//! nearly every damage shows there.

/// Bits of the sum of all frequencies.
const SCALE_BITS: u32 = 12;
const SCALE: u32 = 1 << SCALE_BITS;
/// The lowest state between two symbols.
const LOWEST: u32 = 1 << 16;
/// States that take turns: decoding one does not wait for the other three.
const LANES: usize = 4;
/// The highest frequency, 7/8: a symbol costs at least 0.19 bits.
const MAX_FREQUENT: u32 = SCALE / 8 * 7;
/// A coded byte holds at most so many symbols (0.19 bits each would be 42): what decoding
/// allocates is bounded by the size of the file.
pub(crate) const SYMBOLS_PER_BYTE: usize = 64;
/// Symbols of the largest alphabet.
pub(crate) const MAX_SYMBOLS: usize = 256;

/// Codes symbols below `alphabet`, which is at least 2 and at most [`MAX_SYMBOLS`].
pub(crate) fn encode(symbols: &[u8], alphabet: usize) -> Vec<u8> {
    debug_assert!((2..=MAX_SYMBOLS).contains(&alphabet));
    debug_assert!(symbols.iter().all(|&symbol| usize::from(symbol) < alphabet));
    let frequencies = frequencies(symbols, alphabet);
    let mut out = Vec::new();
    for &frequency in &frequencies {
        if frequency < 128 {
            out.push(frequency as u8);
        } else {
            out.extend([(frequency & 127) as u8 | 128, (frequency >> 7) as u8]);
        }
    }
    let starts = starts(&frequencies);
    let mut states = [LOWEST; LANES];
    let mut words = Vec::new();
    // The last symbol first: decoding undoes the steps in the opposite order.
    for (i, &symbol) in symbols.iter().enumerate().rev() {
        let state = &mut states[i % LANES];
        let frequency = frequencies[usize::from(symbol)];
        if *state >= frequency << (32 - SCALE_BITS) {
            words.push(*state as u16);
            *state >>= 16;
        }
        *state =
            ((*state / frequency) << SCALE_BITS) + *state % frequency + starts[usize::from(symbol)];
    }
    out.extend(states.iter().flat_map(|state| state.to_le_bytes()));
    out.extend(words.iter().rev().flat_map(|word| word.to_le_bytes()));
    out
}

/// Decodes `count` symbols of an alphabet.
///
/// # Errors
/// What is wrong with the bytes. Nothing is allocated for more than [`SYMBOLS_PER_BYTE`] symbols a
/// byte.
pub(crate) fn decode(bytes: &[u8], alphabet: usize, count: usize) -> Result<Vec<u8>, &'static str> {
    check_count(bytes.len(), count)?;
    let (table, bytes) = read_table(bytes, alphabet)?;
    let (states, bytes) =
        bytes.split_first_chunk::<{ 4 * LANES }>().ok_or("the states are truncated")?;
    let (words, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err("half a word is left");
    }
    let mut lanes = [0; LANES];
    for (lane, bytes) in lanes.iter_mut().zip(states.as_chunks::<4>().0) {
        *lane = u32::from_le_bytes(*bytes);
        if *lane < LOWEST {
            return Err("a state is too low");
        }
    }
    let mut symbols = vec![0; count];
    let (rounds, last) = symbols.as_chunks_mut::<LANES>();
    let mut next = 0;
    for round in rounds {
        // A round takes a word a lane at most. Near the end there are fewer: zeros stand in,
        // and the count of consumed words tells whether they were needed.
        let mut window = [[0; 2]; LANES];
        match words.get(next..).and_then(|words| words.first_chunk::<LANES>()) {
            Some(words) => window = *words,
            None => {
                let left = words.get(next..).unwrap_or_default();
                window[..left.len()].copy_from_slice(left);
            }
        }
        let mut taken = 0;
        for (symbol, state) in round.iter_mut().zip(&mut lanes) {
            taken += step(&table, symbol, state, window[taken % LANES]);
        }
        next += taken;
    }
    for (symbol, state) in last.iter_mut().zip(&mut lanes) {
        let word = words.get(next).copied().unwrap_or_default();
        next += step(&table, symbol, state, word);
    }
    if next != words.len() || lanes != [LOWEST; LANES] {
        return Err("the symbols do not end where the bytes do");
    }
    Ok(symbols)
}

/// Checks a count of symbols against the bytes that are said to hold them.
pub(crate) fn check_count(bytes: usize, count: usize) -> Result<(), &'static str> {
    if count <= bytes.saturating_mul(SYMBOLS_PER_BYTE) {
        Ok(())
    } else {
        Err("more symbols than the bytes can hold")
    }
}

/// Decodes a symbol; the words taken, 0 or 1.
#[inline(always)]
fn step(table: &[Slot; SCALE as usize], symbol: &mut u8, state: &mut u32, word: [u8; 2]) -> usize {
    let slot = table[(*state % SCALE) as usize];
    *symbol = slot.symbol();
    // At most 3584 * (2^20 - 1) + 4095: no overflow.
    let next = slot.frequency() * (*state >> SCALE_BITS) + slot.offset();
    let low = next < LOWEST;
    *state = if low { next << 16 | u32::from(u16::from_le_bytes(word)) } else { next };
    usize::from(low)
}

/// What a slot means: offset behind the symbol's start, frequency, symbol, in 12, 12 and 8 bits.
#[derive(Clone, Copy, Default)]
struct Slot(u32);

impl Slot {
    fn offset(self) -> u32 {
        self.0 & (SCALE - 1)
    }

    fn frequency(self) -> u32 {
        self.0 >> SCALE_BITS & (SCALE - 1)
    }

    fn symbol(self) -> u8 {
        (self.0 >> (2 * SCALE_BITS)) as u8
    }
}

fn read_table(
    mut bytes: &[u8],
    alphabet: usize,
) -> Result<(Box<[Slot; SCALE as usize]>, &[u8]), &'static str> {
    let mut table = Box::new([Slot::default(); SCALE as usize]);
    let mut start = 0;
    for symbol in 0..alphabet {
        let mut frequency = 0;
        for shift in [0, 7] {
            let (&byte, rest) = bytes.split_first().ok_or("the frequencies are truncated")?;
            bytes = rest;
            frequency |= u32::from(byte & 127) << shift;
            if byte < 128 {
                break;
            }
            if shift == 7 {
                return Err("a frequency is too long");
            }
        }
        if frequency > MAX_FREQUENT {
            return Err("a frequency is too high");
        }
        let slots = table
            .get_mut(start..start + frequency as usize)
            .ok_or("the frequencies sum to more than 4096")?;
        for (offset, slot) in (0..).zip(slots) {
            *slot = Slot((symbol as u32) << (2 * SCALE_BITS) | frequency << SCALE_BITS | offset);
        }
        start += frequency as usize;
    }
    if start == table.len() {
        Ok((table, bytes))
    } else {
        Err("the frequencies sum to less than 4096")
    }
}

/// Frequencies that sum to 4096; every symbol that occurs has one.
fn frequencies(symbols: &[u8], alphabet: usize) -> Vec<u32> {
    let mut counts = vec![0u64; alphabet];
    for &symbol in symbols {
        counts[usize::from(symbol)] += 1;
    }
    let total = symbols.len().max(1) as u64;
    let mut frequencies: Vec<u32> = counts
        .iter()
        .map(|&count| {
            let share = (count * u64::from(SCALE) / total) as u32;
            share.max(u32::from(count > 0)).min(MAX_FREQUENT)
        })
        .collect();
    // Bits that a change of a frequency costs all its occurrences.
    let cost =
        |count: u64, from: u32, to: u32| count as f64 * (f64::from(from) / f64::from(to)).log2();
    loop {
        let sum: u32 = frequencies.iter().sum();
        let change: i64 = match sum.cmp(&SCALE) {
            std::cmp::Ordering::Equal => return frequencies,
            std::cmp::Ordering::Less => 1,
            std::cmp::Ordering::Greater => -1,
        };
        let changed = |frequency: u32| (i64::from(frequency) + change) as u32;
        let cheapest = (0..alphabet)
            .filter(|&symbol| match change {
                1 => frequencies[symbol] < MAX_FREQUENT,
                _ => frequencies[symbol] > 1,
            })
            .min_by(|&a, &b| {
                let of = |symbol: usize| match (counts[symbol], frequencies[symbol]) {
                    (0, frequency) => f64::from(frequency),
                    (count, frequency) => cost(count, frequency, changed(frequency)),
                };
                of(a).total_cmp(&of(b))
            });
        match cheapest {
            Some(symbol) => frequencies[symbol] = changed(frequencies[symbol]),
            // Two symbols can share 4096, and 256 leave room for each.
            None => return frequencies,
        }
    }
}

fn starts(frequencies: &[u32]) -> Vec<u32> {
    frequencies
        .iter()
        .scan(0, |sum, &frequency| {
            let start = *sum;
            *sum += frequency;
            Some(start)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_near_the_entropy() {
        // Numbers with a bell-shaped histogram: sums of four uniform ones.
        let mut seed = 1u32;
        let mut uniform = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 28
        };
        let symbols: Vec<u8> =
            (0..40_000).map(|_| (0..4).map(|_| uniform() as u8).sum::<u8>()).collect();
        let mut counts = [0u32; 61];
        symbols.iter().for_each(|&symbol| counts[usize::from(symbol)] += 1);
        let share = |count: u32| f64::from(count) / symbols.len() as f64;
        let entropy: f64 = counts
            .iter()
            .filter(|&&count| count > 0)
            .map(|&count| -share(count) * share(count).log2())
            .sum();
        let bits = encode(&symbols, 61).len() as f64 * 8.0 / symbols.len() as f64;
        assert!(bits < 1.005 * entropy + 8.0 * 100.0 / 40_000.0, "{bits} of {entropy}");
    }

    #[test]
    fn one_symbol_only() {
        for count in [0, 1, 5, 100_000] {
            let bytes = encode(&vec![1; count], 2);
            assert_eq!(decode(&bytes, 2, count).unwrap(), vec![1; count]);
        }
    }

    #[test]
    fn damage() {
        let symbols: Vec<u8> = (0..200).map(|i| (i * i % 7) as u8).collect();
        let good = encode(&symbols, 7);
        let table = 7 + good[..12].iter().filter(|&&byte| byte > 127).count();
        let fault = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = good.clone();
            change(&mut bytes);
            decode(&bytes, 7, 200).unwrap_err()
        };
        type Spoil<'a> = &'a dyn Fn(&mut Vec<u8>);
        let cases: [(&str, Spoil, &str); 8] = [
            ("empty", &|b| b.clear(), "more symbols"),
            ("table cut", &|b| b.truncate(4), "frequencies are truncated"),
            ("states cut", &|b| b.truncate(table + 9), "states are truncated"),
            ("odd length", &|b| b.push(0), "half a word"),
            ("a word more", &|b| b.extend([0, 0]), "do not end"),
            ("a word less", &|b| b.truncate(b.len() - 2), "do not end"),
            ("state of zero", &|b| b[table..table + 4].fill(0), "too low"),
            ("endless number", &|b| b[..3].fill(255), "too long"),
        ];
        for (name, spoil, expected) in cases {
            let found = fault(spoil);
            assert!(found.contains(expected), "{name}: {found}");
        }
        for (name, table, expected) in [
            ("too high", [255, 31, 0, 0], "too high"),
            ("too many", [128, 24, 128, 24], "more than 4096"),
            ("too few", [128, 8, 128, 8], "less than 4096"),
        ] {
            let found = decode(&[&table[..], &[0; 40]].concat(), 2, 3).unwrap_err();
            assert!(found.contains(expected), "{name}: {found}");
        }
        assert!(decode(&good, 7, usize::MAX).is_err(), "count overflows");
        assert!(decode(&good, 7, 199).is_err(), "another count");
    }

    proptest! {
        #[test]
        fn round_trip(
            alphabet in 2usize..=MAX_SYMBOLS,
            symbols in prop::collection::vec(0u8..=255, 0..400),
        ) {
            let symbols: Vec<u8> =
                symbols.iter().map(|&s| (usize::from(s) % alphabet) as u8).collect();
            let bytes = encode(&symbols, alphabet);
            prop_assert_eq!(decode(&bytes, alphabet, symbols.len()).unwrap(), symbols);
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(0u8..=255, 0..80), count in 0usize..2000) {
            let _ = decode(&bytes, 3, count);
            let valid = encode(&[0, 1, 2, 2, 1, 0, 0, 2], 3);
            let _ = decode(&[&valid[..], &bytes].concat(), 3, count);
        }

        #[test]
        fn flipped_bits_never_panic(at in 0usize..60, bit in 0u8..8) {
            let symbols: Vec<u8> = (0..100).map(|i| (i % 5) as u8).collect();
            let mut bytes = encode(&symbols, 5);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            // A flip is found, or it gives symbols of the alphabet.
            if let Ok(found) = decode(&bytes, 5, 100) {
                prop_assert!(found.iter().all(|&symbol| symbol < 5));
            }
        }
    }
}
