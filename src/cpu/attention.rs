//! Multi-head self-attention, one head at a time without its scores ever being a tensor.

use super::buffer::{Scratch, SharedOut, filled};
use super::dispatch::{Isa, Kernel, dispatch};
use super::gemm::{DenseRows, Epilogue, Gemm, Panels};
use super::math::exp2_non_positive;
use super::parallel::parallel;
use super::simd::Simd;

/// Queries whose scores are held at a time: against 256 keys they fill 24 KiB.
const BLOCK_QUERIES: usize = 24;
/// Vectors of a row whose maxima are taken side by side: each would wait for the one before it.
const CHAINS: usize = 4;

/// `softmax(q k^T / sqrt(d)) v` for each sequence and head.
///
/// `qkv` is `[sequences, tokens, 3, heads, d]`, the result `[sequences, tokens, heads, d]`.
pub(crate) fn attention(qkv: &[f32], tokens: usize, heads: usize, dim: usize) -> Vec<f32> {
    attention_for(Isa::best(), qkv, tokens, heads, dim)
}

/// How far to either side of a query's column an [`attention_with_map`] reaches.
pub(crate) const MAP_REACH: usize = 16;

/// [`attention`] among tokens on a grid of `columns`, and behind its values a map of it: for each
/// sequence, how much the queries of a column look at the tokens around that column,
/// `[sequences, columns, rows, 2 * MAP_REACH + 1]`, the mean over heads and over a column's
/// queries. Entries beyond the grid are 0.
pub(crate) fn attention_with_map(
    qkv: &[f32],
    tokens: usize,
    heads: usize,
    dim: usize,
    columns: usize,
) -> Vec<f32> {
    attention_with_map_for(Isa::best(), qkv, tokens, heads, dim, columns)
}

fn attention_for(isa: Isa, qkv: &[f32], tokens: usize, heads: usize, dim: usize) -> Vec<f32> {
    attention_with_map_for(isa, qkv, tokens, heads, dim, 0)
}

/// Without a map if there are no columns.
fn attention_with_map_for(
    isa: Isa,
    qkv: &[f32],
    tokens: usize,
    heads: usize,
    dim: usize,
    columns: usize,
) -> Vec<f32> {
    let sequence_len = tokens * 3 * dim;
    let sequences = qkv.len().checked_div(sequence_len).unwrap_or(0);
    let head_dim = dim / heads;
    let rows = tokens.checked_div(columns).unwrap_or(0);
    let map_len = columns * rows * (2 * MAP_REACH + 1);
    let mut maps = vec![0.0; sequences * heads * map_len];
    let maps_out = SharedOut(maps.as_mut_ptr());
    let write = |out: *mut f32| {
        let out = SharedOut(out);
        parallel(sequences * heads, &|task| {
            let (sequence, head) = (task / heads, task % heads);
            let head = Head {
                isa,
                qkv: &qkv[sequence * sequence_len..][..sequence_len],
                tokens,
                dim,
                head_dim,
                column: head * head_dim,
                out: SharedOut(out.at(sequence * tokens * dim + head * head_dim)),
                columns,
                map: SharedOut(maps_out.at(task * map_len)),
            };
            dispatch(isa, head);
        });
    };
    // SAFETY: sequences and heads together cover every token and channel.
    let mut values = unsafe { filled(sequences * tokens * dim, write) };
    if map_len > 0 {
        let share = 1.0 / (heads * rows) as f32;
        for maps in maps.chunks_exact(heads * map_len) {
            let start = values.len();
            values.resize(start + map_len, 0.0);
            for map in maps.chunks_exact(map_len) {
                for (sum, value) in values[start..].iter_mut().zip(map) {
                    *sum += value * share;
                }
            }
        }
    }
    values
}

/// One head of one sequence.
struct Head<'a> {
    isa: Isa,
    /// `[tokens, 3, dim]`
    qkv: &'a [f32],
    tokens: usize,
    dim: usize,
    head_dim: usize,
    /// The head's first channel.
    column: usize,
    /// Where the head's first channel of the first token goes.
    out: SharedOut,
    /// Columns of the tokens' grid; 0 if no map is asked for.
    columns: usize,
    /// Where the head's part of the map is added to.
    map: SharedOut,
}

impl Head<'_> {
    /// Adds the weights of a query, up to a factor, to its column of the map.
    ///
    /// # Safety
    /// The head's part of the map is this thread's own.
    unsafe fn add_to_map(&self, query: usize, weights: &[f32], factor: f32) {
        const WIDTH: usize = 2 * MAP_REACH + 1;
        let Some(column) = query.checked_rem(self.columns) else {
            return;
        };
        let rows = self.tokens / self.columns;
        let map = self.map.at(column * rows * WIDTH);
        // SAFETY: as the caller promised; a column has `rows` rows of `WIDTH` entries.
        let map = unsafe { std::slice::from_raw_parts_mut(map, rows * WIDTH) };
        let start = column.saturating_sub(MAP_REACH);
        let end = (column + MAP_REACH + 1).min(self.columns);
        for (sums, weights) in map.chunks_exact_mut(WIDTH).zip(weights.chunks_exact(self.columns)) {
            let sums = &mut sums[start + MAP_REACH - column..];
            for (sum, weight) in sums.iter_mut().zip(&weights[start..end]) {
                *sum += weight * factor;
            }
        }
    }

    /// The head's channels of the query (0), key (1) or value (2) of a token.
    fn part(&self, token: usize, part: usize) -> &[f32] {
        &self.qkv[(token * 3 + part) * self.dim + self.column..][..self.head_dim]
    }
}

impl Kernel for Head<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd, const MR: usize, const NV: usize>(self) {
        let Head { tokens, head_dim, .. } = self;
        let width = self.isa.panel_width();
        let key_panels = tokens.div_ceil(width);
        let value_panels = head_dim.div_ceil(width);
        // Emissions to the base 2.
        let scale = (std::f64::consts::LOG2_E / (head_dim as f64).sqrt()) as f32;

        // Keys, scaled, as a matrix [d, tokens]; values as a matrix [tokens, d].
        let mut keys = Scratch::new(key_panels * head_dim * width);
        let mut values = Scratch::new(value_panels * tokens * width);
        for (panel, rows) in keys.chunks_exact_mut(head_dim * width).enumerate() {
            for lane in 0..width {
                let token = panel * width + lane;
                if token < tokens {
                    for (k, key) in self.part(token, 1).iter().enumerate() {
                        rows[k * width + lane] = key * scale;
                    }
                } else {
                    (0..head_dim).for_each(|k| rows[k * width + lane] = 0.0);
                }
            }
        }
        for (panel, rows) in values.chunks_exact_mut(tokens * width).enumerate() {
            for (token, row) in rows.chunks_exact_mut(width).enumerate() {
                let columns = &self.part(token, 2)[panel * width..];
                let valid = columns.len().min(width);
                row[..valid].copy_from_slice(&columns[..valid]);
                row[valid..].fill(0.0);
            }
        }
        let keys = Panels { k: head_dim, n: tokens, width, data: &keys, bias: None };
        let values = Panels { k: tokens, n: head_dim, width, data: &values, bias: None };

        let queries = DenseRows::new(&self.qkv[self.column..], tokens, 3 * self.dim, head_dim);
        let mut scores = Scratch::new(BLOCK_QUERIES * tokens);
        let mut factors = [0.0; BLOCK_QUERIES];
        let mut first = 0;
        while first < tokens {
            let count = BLOCK_QUERIES.min(tokens - first);
            let scores_out = scores.as_mut_ptr();
            // SAFETY: scores has room for the block's rows, row `first` comes first; the output's
            // rows and columns and the map are this head's own; the caller made sure of the CPU.
            unsafe {
                Gemm {
                    rows: &queries,
                    matrix: keys,
                    epilogue: Epilogue::Store,
                    out: SharedOut(scores_out.wrapping_sub(first * tokens)),
                    out_stride: tokens,
                    epilogue_start: 0,
                    row_range: first..first + count,
                    panel_range: 0..key_panels,
                    accumulate: false,
                }
                .multiply::<S, MR, NV>();
                let rows = scores.chunks_exact_mut(tokens).zip(&mut factors[..count]);
                for (query, (row, factor)) in (first..).zip(rows) {
                    *factor = unnormalized_softmax::<S>(row).recip();
                    self.add_to_map(query, row, *factor);
                }
                let weights = DenseRows::new(&scores, count, tokens, tokens);
                Gemm {
                    rows: &weights,
                    matrix: values,
                    epilogue: Epilogue::Scale(&factors),
                    out: SharedOut(self.out.at(first * self.dim)),
                    out_stride: self.dim,
                    epilogue_start: 0,
                    row_range: 0..count,
                    panel_range: 0..value_panels,
                    accumulate: false,
                }
                .multiply::<S, MR, NV>();
            }
            first += count;
        }
    }
}

/// Replaces scores by the powers of two of their distances from the largest; returns their sum.
///
/// # Safety
/// The CPU has the instruction set.
#[inline(always)]
pub(super) unsafe fn unnormalized_softmax<S: Simd>(row: &mut [f32]) -> f32 {
    let whole = row.len() / S::LANES * S::LANES;
    let (vectors, rest) = row.split_at_mut(whole);
    let start = vectors.as_mut_ptr();
    // SAFETY: vectors holds whole vectors; the rest goes by way of a padded buffer.
    unsafe {
        let mut padded = [f32::NEG_INFINITY; 16];
        padded[..rest.len()].copy_from_slice(rest);
        let mut largest = [S::load(padded.as_ptr()); CHAINS];
        let mut at = 0;
        while at < whole {
            for (chain, largest) in largest.iter_mut().enumerate() {
                // Beyond the end the last vector once more.
                let at = (at + chain * S::LANES).min(whole - S::LANES);
                *largest = S::max(*largest, S::load(start.add(at)));
            }
            at += CHAINS * S::LANES;
        }
        for chain in 1..CHAINS {
            largest[0] = S::max(largest[0], largest[chain]);
        }
        let largest = S::splat(S::largest(largest[0]));
        let mut sums = S::splat(0.0);
        let mut at = 0;
        while at < whole {
            let e = exp2_non_positive::<S>(S::sub(S::load(start.add(at)), largest));
            S::store(e, start.add(at));
            sums = S::add(sums, e);
            at += S::LANES;
        }
        let mut sum = S::sum(sums);
        if !rest.is_empty() {
            let e = exp2_non_positive::<S>(S::sub(S::load(padded.as_ptr()), largest));
            S::store(e, padded.as_mut_ptr());
            rest.copy_from_slice(&padded[..rest.len()]);
            sum += rest.iter().sum::<f32>();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::super::linear::tests::{assert_close, noise};
    use super::*;

    /// The map by its definition, in f64.
    fn plain_map(qkv: &[f32], rows: usize, columns: usize, heads: usize, dim: usize) -> Vec<f64> {
        let (tokens, width) = (rows * columns, 2 * MAP_REACH + 1);
        let sequences = qkv.len() / (tokens * 3 * dim);
        let mut map = vec![0.0; sequences * columns * rows * width];
        for key in 0..tokens {
            // With a value of 1 at one key and 0 elsewhere, attention gives the key's weights.
            let mut marked = qkv.to_vec();
            for (token, row) in marked.chunks_exact_mut(3 * dim).enumerate() {
                row[2 * dim..].fill(if token % tokens == key { 1.0 } else { 0.0 });
            }
            let weights = plain(&marked, tokens, heads, dim);
            for (at, weights) in weights.chunks_exact(dim).enumerate() {
                let (sequence, column) = (at / tokens, at % columns);
                let offset = (key % columns + MAP_REACH).wrapping_sub(column);
                if offset < width {
                    let row = (sequence * columns + column) * rows + key / columns;
                    let mean = weights.iter().sum::<f64>() / dim as f64;
                    map[row * width + offset] += mean / rows as f64;
                }
            }
        }
        map
    }

    #[test]
    fn map_equals_the_plain_version() {
        for isa in Isa::all() {
            for (sequences, rows, columns, heads) in [(1, 1, 1, 1), (2, 4, 5, 2), (1, 2, 40, 1)] {
                let dim = heads * 8;
                let qkv = noise(3, sequences * rows * columns * 3 * dim);
                let tokens = rows * columns;
                let found = attention_with_map_for(isa, &qkv, tokens, heads, dim, columns);
                let (values, map) = found.split_at(sequences * tokens * dim);
                assert_eq!(values, attention_for(isa, &qkv, tokens, heads, dim));
                let expected = plain_map(&qkv, rows, columns, heads, dim);
                assert_close(map, &expected, 1e-5, &format!("{isa:?}, {rows} x {columns}"));
            }
        }
    }

    /// The definition, in f64.
    fn plain(qkv: &[f32], tokens: usize, heads: usize, dim: usize) -> Vec<f64> {
        let head_dim = dim / heads;
        let sequences = qkv.len() / (tokens * 3 * dim);
        let mut out = vec![0.0; sequences * tokens * dim];
        let at = |s: usize, t: usize, part: usize, c: usize| {
            f64::from(qkv[((s * tokens + t) * 3 + part) * dim + c])
        };
        for s in 0..sequences {
            for head in 0..heads {
                let channels = head * head_dim..(head + 1) * head_dim;
                for q in 0..tokens {
                    let scores: Vec<f64> = (0..tokens)
                        .map(|k| {
                            let dot = |c| at(s, q, 0, c) * at(s, k, 1, c);
                            channels.clone().map(dot).sum::<f64>() / (head_dim as f64).sqrt()
                        })
                        .collect();
                    let largest = scores.iter().copied().fold(f64::MIN, f64::max);
                    let weights: Vec<f64> = scores.iter().map(|x| (x - largest).exp()).collect();
                    let sum: f64 = weights.iter().sum();
                    for c in channels.clone() {
                        let mixed = (0..tokens).map(|k| weights[k] * at(s, k, 2, c));
                        out[(s * tokens + q) * dim + c] = mixed.sum::<f64>() / sum;
                    }
                }
            }
        }
        out
    }

    #[test]
    fn equals_the_plain_version() {
        for isa in Isa::all() {
            for (sequences, tokens, heads, dim) in
                [(1, 1, 1, 1), (2, 5, 2, 16), (1, 33, 3, 96), (1, 131, 1, 32), (4, 32, 2, 24)]
            {
                let row = format!("{isa:?}, {sequences} x {tokens}, {heads} heads of {dim}");
                let mut qkv = noise(1, sequences * tokens * 3 * dim);
                // Emissions from near 0 to far apart.
                qkv.iter_mut().step_by(5).for_each(|x| *x *= 6.0);
                let found = attention_for(isa, &qkv, tokens, heads, dim);
                assert_close(&found, &plain(&qkv, tokens, heads, dim), 1e-5, &row);
            }
        }
    }
}
