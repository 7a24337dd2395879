//! Two linear layers with an activation between them.

use super::buffer::Scratch;
use super::gemm::{Activation, Epilogue, Matrix, Origin, PackedMatrix, RowScales};
use super::linear::{Int8Linear, linear, linear_int8, linear_into, rows_of, source_of};
use super::tile::{Grid, Output, Tile};

/// Rows of a task that multiplies with two matrices at most, and bytes of these: half of a second-level cache
/// or less.
const PAIR_ROWS: usize = 48;
const PAIR_WEIGHTS: usize = 384 << 10;

/// `fc2(activation(fc1(x)))`, plus `residual` if there is one, without the hidden layer ever being a tensor.
pub(crate) fn mlp(
    x: &[f32],
    fc1: &PackedMatrix,
    fc2: &PackedMatrix,
    activation: Activation,
    residual: Option<&[f32]>,
) -> Vec<f32> {
    let (rows, hidden_dim) = (rows_of(x, fc1), fc1.n());
    let epilogue = residual.map_or(Epilogue::Store, Epilogue::Add);
    let weights = (fc1.k() + fc2.n()) * hidden_dim * size_of::<f32>();
    if let Some(block) = pair_block(rows, weights) {
        let source = source_of(x, rows, fc1);
        return in_row_blocks(rows, fc2.n(), block, epilogue, &|first, out| {
            let mut hidden = Scratch::new(out.rows() * hidden_dim);
            let origin = Origin { first_row: first, first_panel: 0 };
            let of_hidden = Output::replace(&mut hidden).tile(out.rows(), hidden_dim);
            fc1.multiply(&source, origin, RowScales::NONE, activation.into(), of_hidden);
            let source = source_of(&hidden, out.rows(), fc2);
            fc2.multiply(&source, Origin::FIRST, RowScales::NONE, epilogue, out);
        });
    }
    let mut hidden = Scratch::new(rows * hidden_dim);
    linear_into(x, None, rows, fc1, activation.into(), Output::replace(&mut hidden));
    linear(&hidden, fc2, epilogue)
}

/// Rows of the tasks that multiply with two matrices one after the other, so that what is between them stays
/// in the second-level cache: nothing if there are too few rows for that many threads, or the weights, so
/// many bytes, leave no room.
fn pair_block(rows: usize, weights: usize) -> Option<usize> {
    let threads = rayon::current_num_threads();
    let blocks = rows.div_ceil(PAIR_ROWS);
    let pays = weights <= PAIR_WEIGHTS && blocks >= 2 * threads;
    pays.then(|| rows.div_ceil(blocks.next_multiple_of(threads)))
}

/// A matrix of `rows` times `columns` whose blocks of rows `task` computes: it is given the first row.
fn in_row_blocks(
    rows: usize,
    columns: usize,
    block_rows: usize,
    epilogue: Epilogue,
    task: &(impl Fn(usize, Tile) + Sync),
) -> Vec<f32> {
    if let Epilogue::Add(other) = epilogue {
        assert_eq!(other.len(), rows * columns, "the residual has another size");
    }
    let grid =
        Grid { segments: 1, segment_rows: rows, block_rows, columns, block_columns: columns };
    // SAFETY: the tasks multiply, which writes every row and column.
    unsafe { grid.filled(&|place, out| task(place.rows.start, out)) }
}

/// [`mlp`] with products of int8.
pub(crate) fn mlp_int8(
    x: &[f32],
    fc1: &Int8Linear,
    fc2: &Int8Linear,
    activation: Activation,
    residual: Option<&[f32]>,
) -> Vec<f32> {
    let (in_dim, hidden_dim) = (fc1.in_dim(), fc1.out_dim());
    let rows = x.len().checked_div(in_dim).unwrap_or(0);
    assert_eq!(x.len(), rows * in_dim, "the input has no whole rows");
    let epilogue = residual.map_or(Epilogue::Store, Epilogue::Add);
    let weights = (in_dim + fc2.out_dim()) * hidden_dim;
    if let Some(block) = pair_block(rows, weights) {
        return in_row_blocks(rows, fc2.out_dim(), block, epilogue, &|first, out| {
            let mut hidden = Scratch::new(out.rows() * hidden_dim);
            let x = &x[first * in_dim..][..out.rows() * in_dim];
            let of_hidden = Output::replace(&mut hidden).tile(out.rows(), hidden_dim);
            fc1.multiply_here(x, activation.into(), of_hidden);
            fc2.multiply_here(&hidden, epilogue, out);
        });
    }
    let mut hidden = Scratch::new(rows * hidden_dim);
    fc1.run_into(x, rows, activation.into(), Output::replace(&mut hidden));
    linear_int8(&hidden, fc2, epilogue)
}

#[cfg(test)]
mod tests {
    use super::super::linear::pack_linear;
    use super::super::linear::tests::noise;
    use super::super::rounding::Int8Input;
    use super::*;

    const ACTIVATIONS: [Activation; 3] = [Activation::Gelu, Activation::Relu, Activation::Swish];

    #[test]
    fn int8_mlp_is_two_layers() {
        [50, 500].into_iter().for_each(int8_mlp_of);
    }

    fn int8_mlp_of(rows: usize) {
        let (dim, hidden) = (24, 96);
        let (x, residual) = (noise(8, rows * dim), noise(9, rows * dim));
        let levels: Vec<i8> = noise(10, hidden * dim).iter().map(|x| (x * 127.0) as i8).collect();
        let fc1 = Int8Linear::new(
            &levels,
            &vec![0.01; hidden],
            Some(&noise(11, hidden)),
            Int8Input::default(),
        );
        let fc2 =
            Int8Linear::new(&levels, &vec![0.02; dim], Some(&noise(13, dim)), Int8Input::default());
        for activation in ACTIVATIONS {
            let first = linear_int8(&x, &fc1, activation.into());
            let expected = linear_int8(&first, &fc2, Epilogue::Add(&residual));
            assert!(mlp_int8(&x, &fc1, &fc2, activation, Some(&residual)) == expected);
            let expected = linear_int8(&first, &fc2, Epilogue::Store);
            assert!(mlp_int8(&x, &fc1, &fc2, activation, None) == expected);
        }
    }

    #[test]
    fn mlp_is_two_layers() {
        [50, 500].into_iter().for_each(mlp_of);
    }

    fn mlp_of(rows: usize) {
        let (dim, hidden) = (24, 96);
        let (x, residual) = (noise(8, rows * dim), noise(9, rows * dim));
        let fc1 = pack_linear(&noise(10, hidden * dim), hidden, Some(&noise(11, hidden)));
        let fc2 = pack_linear(&noise(12, dim * hidden), dim, Some(&noise(13, dim)));
        for activation in ACTIVATIONS {
            let hidden = linear(&x, &fc1, activation.into());
            let expected = linear(&hidden, &fc2, Epilogue::Add(&residual));
            assert!(mlp(&x, &fc1, &fc2, activation, Some(&residual)) == expected);
            let expected = linear(&hidden, &fc2, Epilogue::Store);
            assert!(mlp(&x, &fc1, &fc2, activation, None) == expected);
        }
    }
}
