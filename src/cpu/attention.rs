//! Multi-head self-attention, one head at a time without its scores ever being a tensor.

use std::mem::MaybeUninit;

use super::buffer::{Scratch, filled};
use super::dispatch::{Isa, Kernel, dispatch};
use super::gemm::{DenseRows, Epilogue, Gemm, Panels};
use super::parts::{Chunks, for_each_part};
use super::simd::{F32, MAX_LANES, Simd, transposed};
use super::softmax::unnormalized_softmax;
use super::tile::{Grid, Output, Tile, load_columns};

/// Queries whose scores are held at a time: against 256 keys they fill 24 KiB.
const BLOCK_QUERIES: usize = 24;

/// `softmax(q k^T / sqrt(d)) v` for each sequence and head.
///
/// `qkv` is `[sequences, tokens, 3, heads, d]`, the result `[sequences, tokens, heads, d]`.
pub(crate) fn attention(qkv: &[f32], tokens: usize, heads: usize, dim: usize) -> Vec<f32> {
    attention_for(Isa::best(), qkv, tokens, heads, dim)
}

/// How far to either side of a query's column an [`attention_with_map`] reaches.
pub(crate) const MAP_REACH: usize = 16;
/// Entries of a row of the map.
const MAP_WIDTH: usize = 2 * MAP_REACH + 1;

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
pub(super) fn attention_with_map_for(
    isa: Isa,
    qkv: &[f32],
    tokens: usize,
    heads: usize,
    dim: usize,
    columns: usize,
) -> Vec<f32> {
    let sequence_len = tokens * 3 * dim;
    let sequences = qkv.len().checked_div(sequence_len).unwrap_or(0);
    assert_eq!(qkv.len(), sequences * sequence_len, "the input has no whole sequences");
    let head_dim = dim / heads;
    assert_eq!(dim, heads * head_dim, "heads of different sizes");
    let rows = tokens.checked_div(columns).unwrap_or(0);
    let map_len = columns * rows * MAP_WIDTH;
    let mut maps = vec![0.0; sequences * heads * map_len];
    let grid = head_grid(sequences, tokens, heads, head_dim);
    let write = |out: &mut [MaybeUninit<f32>]| {
        let tiles = grid.tiles(Output::uninit(out));
        let maps = Chunks::equal(&mut maps, sequences * heads);
        for_each_part((tiles, maps), &|_, ((place, out), map)| {
            let qkv = &qkv[place.segment * sequence_len..][..sequence_len];
            let channel = place.columns.start;
            dispatch(isa, Head { qkv, tokens, dim, head_dim, channel, out, columns, map });
        });
    };
    // SAFETY: the tiles make up the output, and a `Head` writes its own in full.
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

/// A matrix of `rows` a sequence and `heads` times `head_dim` columns, divided by heads.
pub(super) fn head_grid(sequences: usize, rows: usize, heads: usize, head_dim: usize) -> Grid {
    Grid {
        segments: sequences,
        segment_rows: rows,
        block_rows: rows,
        columns: heads * head_dim,
        block_columns: head_dim,
    }
}

/// One head of one sequence.
struct Head<'a> {
    /// `[tokens, 3, dim]`
    qkv: &'a [f32],
    tokens: usize,
    dim: usize,
    head_dim: usize,
    /// The head's first channel.
    channel: usize,
    /// `[tokens, head_dim]`
    out: Tile<'a>,
    /// Columns of the tokens' grid; 0 if no map is asked for.
    columns: usize,
    /// The head's part of the map, `[columns, rows, MAP_WIDTH]`.
    map: &'a mut [f32],
}

impl Head<'_> {
    /// Adds the weights of a query, times a factor, to its column of the map.
    fn add_to_map(&mut self, query: usize, weights: &[f32], factor: f32) {
        let Some(column) = query.checked_rem(self.columns) else {
            return;
        };
        let len = self.tokens / self.columns * MAP_WIDTH;
        let map = &mut self.map[column * len..][..len];
        let start = column.saturating_sub(MAP_REACH);
        let end = (column + MAP_REACH + 1).min(self.columns);
        let rows = map.chunks_exact_mut(MAP_WIDTH).zip(weights.chunks_exact(self.columns));
        for (sums, weights) in rows {
            let sums = &mut sums[start + MAP_REACH - column..];
            for (sum, weight) in sums.iter_mut().zip(&weights[start..end]) {
                *sum += weight * factor;
            }
        }
    }

    /// The head's channels of the query (0), key (1) or value (2) of a token.
    fn part(&self, token: usize, part: usize) -> &[f32] {
        &self.qkv[(token * 3 + part) * self.dim + self.channel..][..self.head_dim]
    }
}

impl Kernel for Head<'_> {
    type Output = ();

    /// Writes the whole tile: block after block of its rows.
    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(mut self, simd: S) {
        let Head { tokens, head_dim, .. } = self;
        let width = NV * S::LANES;
        let key_panels = tokens.div_ceil(width);
        let value_panels = head_dim.div_ceil(width);
        // Scores to the base 2.
        let scale = (std::f64::consts::LOG2_E / (head_dim as f64).sqrt()) as f32;

        // Keys, scaled, as a matrix [d, tokens]; values as a matrix [tokens, d].
        let mut keys = Scratch::new(key_panels * head_dim * width);
        let mut values = Scratch::new(value_panels * tokens * width);
        let scale = simd.splat(scale);
        for (panel, rows) in keys.chunks_exact_mut(head_dim * width).enumerate() {
            for lane in (0..width).step_by(S::LANES) {
                let first = panel * width + lane;
                for k in (0..head_dim).step_by(S::LANES) {
                    let mut square = [simd.splat(0.0); MAX_LANES];
                    for (token, row) in (first..tokens).zip(&mut square[..S::LANES]) {
                        let key = &self.part(token, 1)[k..];
                        // SAFETY: the slice has as many elements.
                        let [key] = unsafe {
                            load_columns::<S, 1>(simd, key.as_ptr(), key.len().min(S::LANES))
                        };
                        *row = simd.mul(key, scale);
                    }
                    let columns = transposed(simd, square);
                    for (row, column) in
                        rows[k * width..].chunks_exact_mut(width).zip(&columns[..S::LANES])
                    {
                        simd.store(*column, &mut S::split_mut(&mut row[lane..]).0[0]);
                    }
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
        let keys = Panels::new(head_dim, tokens, width, &keys, None);
        let values = Panels::new(tokens, head_dim, width, &values, None);

        let queries = DenseRows::new(&self.qkv[self.channel..], tokens, 3 * self.dim, head_dim);
        let mut scores = Scratch::new(BLOCK_QUERIES * tokens);
        let mut factors = [0.0; BLOCK_QUERIES];
        let mut first = 0;
        while first < tokens {
            let count = BLOCK_QUERIES.min(tokens - first);
            let scores = &mut scores[..count * tokens];
            Gemm {
                rows: &queries,
                first_row: first,
                matrix: keys,
                first_panel: 0,
                epilogue: Epilogue::Store,
                out: Output::replace(scores).tile(count, tokens),
            }
            .multiply::<S, F32, MR, NV>(simd, F32);
            let rows = scores.chunks_exact_mut(tokens).zip(&mut factors);
            for (query, (row, factor)) in (first..).zip(rows) {
                *factor = unnormalized_softmax(simd, row).recip();
                self.add_to_map(query, row, *factor);
            }
            let weights = DenseRows::new(scores, count, tokens, tokens);
            Gemm {
                rows: &weights,
                first_row: 0,
                matrix: values,
                first_panel: 0,
                epilogue: Epilogue::Scale(&factors),
                out: self.out.select(first, 1, count),
            }
            .multiply::<S, F32, MR, NV>(simd, F32);
            first += count;
        }
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
            for (sequences, tokens, heads, dim) in [
                (1, 1, 1, 1),
                (2, 5, 2, 16),
                (1, 33, 3, 96),
                (1, 131, 1, 32),
                (4, 32, 2, 24),
                (2, 40, 8, 120),
                (1, 21, 8, 256),
                (1, 1100, 1, 15),
            ] {
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
