//! Gradients of multi-head self-attention. The weights are computed anew, a block of queries at a
//! time: they are never a tensor.

use super::super::attention::head_grid;
use super::super::buffer::Scratch;
use super::super::dispatch::{Isa, Kernel, dispatch};
use super::super::gemm::{DenseRows, Epilogue, Gemm, Panels};
use super::super::simd::{F32, Simd};
use super::super::softmax::{softmax_backward, unnormalized_softmax};
use super::super::tile::{Output, Tile};

/// Queries of a block: with 256 keys their weights fill 32 KiB.
const BLOCK_QUERIES: usize = 32;

/// The gradient for `qkv`, `[sequences, tokens, 3, heads, d]`, from that for the result of
/// `attention(qkv, tokens, heads, dim)`.
pub(crate) fn attention_backward(
    qkv: &[f32],
    dy: &[f32],
    tokens: usize,
    heads: usize,
    dim: usize,
) -> Vec<f32> {
    attention_backward_for(Isa::best(), qkv, dy, tokens, heads, dim)
}

fn attention_backward_for(
    isa: Isa,
    qkv: &[f32],
    dy: &[f32],
    tokens: usize,
    heads: usize,
    dim: usize,
) -> Vec<f32> {
    let sequence_len = tokens * 3 * dim;
    let sequences = qkv.len().checked_div(sequence_len).unwrap_or(0);
    assert_eq!(qkv.len(), sequences * sequence_len, "the input has no whole sequences");
    assert_eq!(dy.len(), sequences * tokens * dim, "the gradient has another size");
    let head_dim = dim / heads;
    assert_eq!(dim, heads * head_dim, "heads of different sizes");
    let grid = head_grid(sequences, tokens * 3, heads, head_dim);
    // SAFETY: a `Head` writes the rows of every token's query, key and value.
    unsafe {
        grid.filled(&|place, out| {
            let qkv = &qkv[place.segment * sequence_len..][..sequence_len];
            let dy = &dy[place.segment * tokens * dim..][..tokens * dim];
            let channel = place.columns.start;
            dispatch(isa, Head { qkv, dy, tokens, dim, head_dim, channel, out });
        })
    }
}

/// One head of one sequence.
struct Head<'a> {
    /// `[tokens, 3, dim]`
    qkv: &'a [f32],
    /// `[tokens, dim]`
    dy: &'a [f32],
    tokens: usize,
    dim: usize,
    head_dim: usize,
    /// The head's first channel.
    channel: usize,
    /// The gradient for the head's part of `qkv`, `[tokens * 3, head_dim]`.
    out: Tile<'a>,
}

impl Head<'_> {
    /// The head's channels of the query (0), key (1) or value (2) of a token.
    fn part(&self, token: usize, part: usize) -> &[f32] {
        &self.qkv[(token * 3 + part) * self.dim + self.channel..][..self.head_dim]
    }

    /// A part of all tokens as a matrix `[d, tokens]` times a factor, in panels.
    fn pack_columns(&self, part: usize, factor: f32, width: usize, packed: &mut [f32]) {
        for (panel, rows) in packed.chunks_exact_mut(self.head_dim * width).enumerate() {
            for lane in 0..width {
                let token = panel * width + lane;
                if token < self.tokens {
                    for (k, value) in self.part(token, part).iter().enumerate() {
                        rows[k * width + lane] = value * factor;
                    }
                } else {
                    (0..self.head_dim).for_each(|k| rows[k * width + lane] = 0.0);
                }
            }
        }
    }
}

/// Rows of `columns` elements as a matrix in panels.
#[inline(always)]
fn pack_rows(rows: &[f32], columns: usize, width: usize, packed: &mut [f32]) {
    let count = rows.len() / columns;
    for (panel, packed) in packed.chunks_exact_mut(count * width).enumerate() {
        let start = panel * width;
        let valid = width.min(columns - start);
        for (row, packed) in rows.chunks_exact(columns).zip(packed.chunks_exact_mut(width)) {
            packed[..valid].copy_from_slice(&row[start..start + valid]);
            packed[valid..].fill(0.0);
        }
    }
}

/// `count` rows of `columns` elements, `stride` apart, as `[columns, count]`.
#[inline(always)]
fn turn_rows(rows: &[f32], stride: usize, count: usize, columns: usize, turned: &mut [f32]) {
    for (i, row) in rows.chunks(stride).take(count).enumerate() {
        for (column, value) in row[..columns].iter().enumerate() {
            turned[column * count + i] = *value;
        }
    }
}

impl Kernel for Head<'_> {
    type Output = ();

    /// Writes the whole tile: the rows of queries block after block, then those of keys and values.
    #[inline(always)]
    fn run<S: Simd, const MR: usize, const NV: usize>(mut self, simd: S) {
        let Head { tokens, dim, head_dim, .. } = self;
        let width = NV * S::LANES;
        let (token_panels, head_panels) = (tokens.div_ceil(width), head_dim.div_ceil(width));
        let scale = (head_dim as f32).sqrt().recip();

        let mut keys = Scratch::new(token_panels * head_dim * width);
        let mut values = Scratch::new(token_panels * head_dim * width);
        let mut key_rows = Scratch::new(head_panels * tokens * width);
        self.pack_columns(1, scale * std::f32::consts::LOG2_E, width, &mut keys);
        self.pack_columns(2, 1.0, width, &mut values);
        for (panel, rows) in key_rows.chunks_exact_mut(tokens * width).enumerate() {
            for (token, row) in rows.chunks_exact_mut(width).enumerate() {
                let columns = &self.part(token, 1)[panel * width..];
                let valid = columns.len().min(width);
                row[..valid].copy_from_slice(&columns[..valid]);
                row[valid..].fill(0.0);
            }
        }
        let keys = Panels::new(head_dim, tokens, width, &keys, None);
        let values = Panels::new(head_dim, tokens, width, &values, None);
        let key_rows = Panels::new(tokens, head_dim, width, &key_rows, None);

        let queries = DenseRows::new(&self.qkv[self.channel..], tokens, 3 * dim, head_dim);
        let gradients = DenseRows::new(&self.dy[self.channel..], tokens, dim, head_dim);
        let mut weights = Scratch::new(BLOCK_QUERIES * tokens);
        let mut d_scores = Scratch::new(BLOCK_QUERIES * tokens);
        let mut packed = Scratch::new(BLOCK_QUERIES * token_panels * width);
        let mut turned = Scratch::new(BLOCK_QUERIES * head_dim);
        // Gradients for keys and values, `[d, tokens]` each.
        let mut d_keys = Scratch::new(head_dim * tokens);
        let mut d_values = Scratch::new(head_dim * tokens);
        d_keys.fill(0.0);
        d_values.fill(0.0);

        let epilogue = Epilogue::Store;
        let mut first = 0;
        while first < tokens {
            let count = BLOCK_QUERIES.min(tokens - first);
            let weights = &mut weights[..count * tokens];
            let d_scores = &mut d_scores[..count * tokens];
            for (rows, matrix, products) in
                [(&queries, keys, &mut *weights), (&gradients, values, &mut *d_scores)]
            {
                let out = Output::replace(products).tile(count, tokens);
                Gemm { rows, first_row: first, matrix, first_panel: 0, epilogue, out }
                    .multiply::<S, F32, MR, NV>(simd, F32);
            }
            let rows = weights.chunks_exact_mut(tokens).zip(d_scores.chunks_exact_mut(tokens));
            for (weights, d_scores) in rows {
                let factor = unnormalized_softmax(simd, weights).recip();
                softmax_backward(simd, weights, d_scores, factor, scale);
            }
            let rows = &DenseRows::new(d_scores, count, tokens, tokens);
            let out = self.out.select(3 * first, 3, count);
            Gemm { rows, first_row: 0, matrix: key_rows, first_panel: 0, epilogue, out }
                .multiply::<S, F32, MR, NV>(simd, F32);

            let packed = &mut packed[..count * token_panels * width];
            let dy = &self.dy[first * dim + self.channel..];
            let queries = &self.qkv[first * 3 * dim + self.channel..];
            for (left, stride, right, sums) in
                [(dy, dim, &*weights, &mut d_values), (queries, 3 * dim, d_scores, &mut d_keys)]
            {
                turn_rows(left, stride, count, head_dim, &mut turned);
                pack_rows(right, tokens, width, packed);
                let rows = &DenseRows::new(&turned, head_dim, count, count);
                let matrix = Panels::new(count, tokens, width, packed, None);
                let out = Output::accumulate(sums).tile(head_dim, tokens);
                Gemm { rows, first_row: 0, matrix, first_panel: 0, epilogue, out }
                    .multiply::<S, F32, MR, NV>(simd, F32);
            }
            first += count;
        }
        for (part, gradient) in [(1, &d_keys), (2, &d_values)] {
            for token in 0..tokens {
                let channels = gradient.chunks_exact(tokens).map(|channel| channel[token]);
                self.out.write_row(token * 3 + part, channels);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::linear::tests::{assert_close, noise};
    use super::*;

    /// The definition in f64.
    fn plain(qkv: &[f32], dy: &[f32], tokens: usize, heads: usize, dim: usize) -> Vec<f64> {
        let head_dim = dim / heads;
        let scale = (head_dim as f64).sqrt().recip();
        let mut out = vec![0.0; qkv.len()];
        let sequences = qkv.len() / (tokens * 3 * dim);
        for (sequence, head) in (0..sequences).flat_map(|s| (0..heads).map(move |h| (s, h))) {
            let at = |token: usize, part: usize, channel: usize| {
                ((sequence * tokens + token) * 3 + part) * dim + head * head_dim + channel
            };
            let value = |token, part, channel| f64::from(qkv[at(token, part, channel)]);
            for query in 0..tokens {
                let dy = |channel: usize| {
                    f64::from(dy[(sequence * tokens + query) * dim + head * head_dim + channel])
                };
                let dot = |key: usize| -> f64 {
                    (0..head_dim).map(|c| value(query, 0, c) * value(key, 1, c)).sum()
                };
                let exps: Vec<f64> = (0..tokens).map(|key| (dot(key) * scale).exp()).collect();
                let sum: f64 = exps.iter().sum();
                let weights: Vec<f64> = exps.iter().map(|e| e / sum).collect();
                let d_weights: Vec<f64> = (0..tokens)
                    .map(|key| (0..head_dim).map(|c| dy(c) * value(key, 2, c)).sum())
                    .collect();
                let mean: f64 = weights.iter().zip(&d_weights).map(|(w, d)| w * d).sum();
                for key in 0..tokens {
                    let d_score = weights[key] * (d_weights[key] - mean) * scale;
                    for channel in 0..head_dim {
                        out[at(query, 0, channel)] += d_score * value(key, 1, channel);
                        out[at(key, 1, channel)] += d_score * value(query, 0, channel);
                        out[at(key, 2, channel)] += weights[key] * dy(channel);
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
                [(1, 1, 1, 4), (2, 5, 1, 8), (1, 33, 2, 64), (2, 70, 3, 30)]
            {
                let qkv: Vec<f32> =
                    noise(1, sequences * tokens * 3 * dim).iter().map(|x| 2.0 * x).collect();
                let dy = noise(2, sequences * tokens * dim);
                let expected = plain(&qkv, &dy, tokens, heads, dim);
                let found = attention_backward_for(isa, &qkv, &dy, tokens, heads, dim);
                let row = format!("{isa:?}, {sequences} x {tokens}, {heads} heads of {dim}");
                assert_close(&found, &expected, 2e-5, &row);
            }
        }
    }
}
