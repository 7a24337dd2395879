//! How wide the ink of characters is: a prior, and what a line tells about itself.

use std::collections::HashMap;

/// A width as a log-normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Width {
    /// The natural logarithm of the median.
    pub(super) log: f32,
    /// The standard deviation of the logarithm.
    pub(super) deviation: f32,
}

/// Widths of the printable ASCII characters from `!` on, in percent of the mean of lower-case
/// letters, and standard deviations in percent: means over the logarithms in 150 typefaces.
const ASCII: [(u8, u8); 94] = [
    (33, 25),
    (59, 18),
    (118, 16),
    (98, 10),
    (147, 16),
    (130, 13),
    (24, 21),
    (56, 18),
    (56, 18),
    (77, 18),
    (96, 16),
    (35, 22),
    (61, 17),
    (29, 21),
    (81, 21),
    (102, 9),
    (69, 25),
    (97, 10),
    (95, 10),
    (106, 9),
    (95, 11),
    (99, 8),
    (96, 10),
    (99, 10),
    (98, 8),
    (31, 22),
    (37, 25),
    (92, 17),
    (95, 16),
    (92, 17),
    (83, 14),
    (156, 17),
    (130, 9),
    (110, 8),
    (116, 9),
    (121, 10),
    (102, 11),
    (99, 10),
    (123, 9),
    (122, 12),
    (44, 51),
    (81, 24),
    (122, 10),
    (94, 13),
    (148, 14),
    (123, 11),
    (130, 10),
    (106, 8),
    (133, 11),
    (116, 10),
    (102, 10),
    (115, 11),
    (120, 11),
    (128, 10),
    (179, 15),
    (129, 9),
    (123, 11),
    (111, 10),
    (53, 23),
    (72, 32),
    (52, 23),
    (90, 18),
    (100, 17),
    (43, 19),
    (96, 7),
    (101, 2),
    (89, 9),
    (103, 4),
    (94, 9),
    (77, 16),
    (102, 6),
    (99, 7),
    (41, 42),
    (57, 26),
    (100, 7),
    (42, 44),
    (153, 12),
    (99, 7),
    (100, 6),
    (103, 4),
    (102, 4),
    (73, 15),
    (82, 13),
    (70, 16),
    (99, 7),
    (103, 7),
    (148, 10),
    (104, 6),
    (107, 6),
    (88, 9),
    (66, 21),
    (21, 40),
    (66, 21),
    (95, 14),
];

/// The width of a character whose typefaces were not measured: a letter.
const LETTER: Width = Width { log: 0.0, deviation: 0.3 };

/// Ideographs and syllables fill a square.
const SQUARE: Width = Width { log: 0.65, deviation: 0.2 };

impl Width {
    /// The width of a symbol in units of a lower-case letter's.
    pub(super) fn prior(symbol: &str) -> Self {
        let Some(first) = symbol.chars().next() else { return LETTER };
        let code = u32::from(first);
        let ascii = (code as usize).checked_sub(usize::from(b'!')).and_then(|at| ASCII.get(at));
        match (ascii, code) {
            (Some(&(width, deviation)), _) => Width {
                log: (f32::from(width) / 100.0).ln(),
                deviation: f32::from(deviation) / 100.0,
            },
            (_, 0x1100..=0x11ff | 0x2e80..=0xd7ff | 0xf900..=0xfaff | 0xff00..=0xff60) => SQUARE,
            (_, 0x2_0000..=0x3_ffff) => SQUARE,
            _ => LETTER,
        }
    }
}

/// The weight of the prior against one observed width of the same symbol.
const PRIOR_WEIGHT: f32 = 1.0;

/// The widths of a line's symbols, from those observed: in the unit of the line, and for each
/// symbol nearer to what was observed the more often it occurs. `spread` is added to the
/// deviations.
pub(super) fn learn(symbols: &[&str], observed: &[f32], spread: f32) -> Vec<Width> {
    let priors: Vec<Width> = symbols.iter().map(|symbol| Width::prior(symbol)).collect();
    let logs: Vec<f32> = observed.iter().map(|width| width.max(0.5).ln()).collect();
    let mut units: Vec<(f32, f32)> = priors
        .iter()
        .zip(&logs)
        .map(|(prior, log)| (log - prior.log, 1.0 / (prior.deviation + 0.1)))
        .collect();
    let unit = weighted_median(&mut units);
    let mut sums: HashMap<&str, (f32, f32)> = HashMap::new();
    for (&symbol, log) in symbols.iter().zip(&logs) {
        let entry = sums.entry(symbol).or_default();
        (entry.0, entry.1) = (entry.0 + log, entry.1 + 1.0);
    }
    let width = |(&symbol, prior): (&&str, &Width)| {
        let (sum, count) = sums.get(symbol).copied().unwrap_or_default();
        // One occurrence says nothing but itself.
        let count_of_others = count - 1.0;
        let mean = if count > 0.0 { sum / count } else { 0.0 };
        let share = count_of_others / (count_of_others + PRIOR_WEIGHT);
        let log = (1.0 - share) * (prior.log + unit) + share * mean;
        Width { log, deviation: prior.deviation.hypot(spread) }
    };
    symbols.iter().zip(&priors).map(width).collect()
}

/// The value at which half of the weight is reached, 0 without values.
fn weighted_median(values: &mut [(f32, f32)]) -> f32 {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = values.iter().map(|value| value.1).sum::<f32>() / 2.0;
    let mut sum = 0.0;
    for &(value, weight) in values.iter() {
        sum += weight;
        if sum >= half {
            return value;
        }
    }
    0.0
}
