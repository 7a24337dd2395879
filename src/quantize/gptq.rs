//! Rounding a row of weights so that errors make up for each other.
//!
//! The mean square error of an output channel, but for a constant, is `e' H e`, with the errors `e` of its weights and the
//! covariances `H` of the inputs. With `H = L D L'`, `L` lower triangular with a diagonal of ones, it is
//! the sum over `k` of `D[k] (e[k] + sum of e[i] L[i][k] over i > k)^2`. From the last weight to the
//! first, each is rounded to the integer that makes its term least (Frantar et al., 2023,
//! arXiv 2210.17323; in this form Chee et al., 2023, arXiv 2307.13304).

use rayon::prelude::*;

use super::scales::round;

/// Share of the mean variance that is added to every variance: inputs outside the sample vary, too.
const DAMPING: f64 = 0.01;

/// What the error of a weight adds to those that are rounded after it.
pub(super) struct Gptq {
    /// The columns, from the one with the least variance to that with the largest, which is rounded
    /// first.
    order: Vec<usize>,
    /// `L`, `[columns, columns]` in that order; above the diagonal it holds nothing of meaning.
    factor: Vec<f32>,
}

impl Gptq {
    /// From the covariances of `columns` inputs, `[columns, columns]`, which are multiplied with
    /// factors before they meet the weights. `None` if there are not as many, or they are no numbers.
    pub(super) fn new(covariance: &[f32], columns: usize, factors: Option<&[f32]>) -> Option<Self> {
        let fits = columns.checked_mul(columns) == Some(covariance.len())
            && factors.is_none_or(|factors| factors.len() == columns);
        if !fits || covariance.iter().any(|x| !x.is_finite()) {
            return None;
        }
        let of_column = |column: usize| factors.map_or(1.0, |factors| f64::from(factors[column]));
        let at = |(a, b): (usize, usize)| {
            f64::from(covariance[a * columns + b]) * of_column(a) * of_column(b)
        };
        let variance = |column: usize| at((column, column)).max(0.0);
        let mut order: Vec<usize> = (0..columns).collect();
        order.sort_by(|&a, &b| variance(a).total_cmp(&variance(b)));
        let mean =
            order.iter().map(|&column| variance(column)).sum::<f64>() / columns.max(1) as f64;
        let damping = (DAMPING * mean).max(f64::MIN_POSITIVE);
        let pairs = order.iter().flat_map(|&a| order.iter().map(move |&b| (a, b)));
        let mut factor: Vec<f64> = pairs.map(at).collect();
        factor.iter_mut().step_by(columns + 1).for_each(|variance| {
            *variance = variance.max(0.0) + damping;
        });
        factorize(&mut factor, columns, damping);
        Some(Gptq { order, factor: factor.iter().map(|&x| x as f32).collect() })
    }

    /// The integers of a row of weights with a scale, of up to `most`.
    pub(super) fn round_row(&self, row: &[f32], scale: f32, most: i32) -> Vec<i8> {
        let columns = self.order.len();
        let mut levels = vec![0; row.len()];
        // What the errors so far ask of each weight.
        let mut wanted: Vec<f32> = self.order.iter().map(|&column| row[column]).collect();
        for k in (0..columns).rev() {
            let level = round(wanted[k], scale, most);
            levels[self.order[k]] = level as i8;
            let error = row[self.order[k]] - level as f32 * scale;
            for (wanted, factor) in wanted[..k].iter_mut().zip(&self.factor[k * columns..]) {
                *wanted += error * factor;
            }
        }
        levels
    }
}

/// Replaces a symmetric matrix by the `L` of `L D L'`, below the diagonal. No element of `D` is below
/// `least`, whatever rounding makes of it.
fn factorize(matrix: &mut [f64], size: usize, least: f64) {
    let mut column = vec![0.0; size];
    for k in 0..size {
        let pivot = matrix[k * size + k].max(least);
        let (_, below) = matrix.split_at_mut((k + 1) * size);
        for (row, value) in below.chunks_exact(size).zip(&mut column[k + 1..]) {
            *value = row[k];
        }
        let column = &column;
        below.par_chunks_exact_mut(size).with_min_len(64).enumerate().for_each(|(i, row)| {
            let i = i + k + 1;
            let factor = row[k] / pivot;
            row[k] = factor;
            for (value, of_column) in row[k + 1..=i].iter_mut().zip(&column[k + 1..=i]) {
                *value -= factor * of_column;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: usize = 40;

    fn noise(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(next).collect()
    }

    /// Covariances of inputs that vary together: every input is a sum of few sources and noise.
    fn covariance() -> Vec<f32> {
        let (sources, own) = (noise(COLUMNS * 4, 1), noise(COLUMNS, 2));
        let source = |column: usize| &sources[column * 4..][..4];
        let at = |a: usize, b: usize| {
            let common = source(a).iter().zip(source(b)).map(|(a, b)| a * b).sum::<f32>();
            common + if a == b { 0.1 * own[a] * own[a] } else { 0.0 }
        };
        (0..COLUMNS * COLUMNS).map(|i| at(i / COLUMNS, i % COLUMNS)).collect()
    }

    /// The mean square of the error of a row's output.
    fn output_error(covariance: &[f32], row: &[f32], levels: &[i8], scale: f32) -> f64 {
        let error: Vec<f64> = (row.iter().zip(levels))
            .map(|(&x, &level)| f64::from(x) - f64::from(level) * f64::from(scale))
            .collect();
        let products = covariance.iter().enumerate().map(|(i, &covariance)| {
            f64::from(covariance) * error[i / COLUMNS] * error[i % COLUMNS]
        });
        products.sum()
    }

    #[test]
    fn factors_make_up_the_matrix() {
        let mut matrix: Vec<f64> = covariance().iter().map(|&x| f64::from(x)).collect();
        (0..COLUMNS).for_each(|i| matrix[i * COLUMNS + i] += 0.01);
        let mut factor = matrix.clone();
        factorize(&mut factor, COLUMNS, 0.01);
        // The diagonal holds D.
        let l = |i: usize, k: usize| if i == k { 1.0 } else { factor[i * COLUMNS + k] };
        for i in 0..COLUMNS {
            for j in 0..=i {
                let product = (0..=j).map(|k| l(i, k) * factor[k * COLUMNS + k] * l(j, k));
                let (found, expected) = (product.sum::<f64>(), matrix[i * COLUMNS + j]);
                assert!((found - expected).abs() < 1e-9, "{i}, {j}: {found}, {expected}");
            }
        }
    }

    #[test]
    fn errors_make_up_for_each_other() {
        let (covariance, scale, most) = (covariance(), 0.1, 127);
        let feedback = Gptq::new(&covariance, COLUMNS, None).unwrap();
        let (mut plain_error, mut error) = (0.0, 0.0);
        for seed in 10..40 {
            let row = noise(COLUMNS, seed);
            let plain: Vec<i8> = row.iter().map(|&x| round(x, scale, most) as i8).collect();
            plain_error += output_error(&covariance, &row, &plain, scale);
            let levels = feedback.round_row(&row, scale, most);
            error += output_error(&covariance, &row, &levels, scale);
        }
        assert!(error < 0.2 * plain_error, "{error} instead of {plain_error}");
    }

    #[test]
    fn inputs_that_vary_alone_change_nothing() {
        let row = noise(COLUMNS, 3);
        let diagonal: Vec<f32> = (0..COLUMNS * COLUMNS)
            .map(|i| if i / COLUMNS == i % COLUMNS { i as f32 } else { 0.0 })
            .collect();
        let plain: Vec<i8> = row.iter().map(|&x| round(x, 0.02, 31) as i8).collect();
        for covariance in [diagonal, vec![0.0; COLUMNS * COLUMNS]] {
            let feedback = Gptq::new(&covariance, COLUMNS, None).unwrap();
            assert_eq!(feedback.round_row(&row, 0.02, 31), plain);
        }
    }

    /// Factors of the input are factors of its covariances.
    #[test]
    fn factors_scale_the_covariances() {
        let (row, factors, covariance) = (noise(COLUMNS, 4), noise(COLUMNS, 5), covariance());
        let factors: Vec<f32> = factors.iter().map(|x| 1.5 + x).collect();
        let scaled = covariance.iter().enumerate();
        let scaled = scaled.map(|(i, x)| x * factors[i / COLUMNS] * factors[i % COLUMNS]);
        let scaled: Vec<f32> = scaled.collect();
        let with_factors = Gptq::new(&covariance, COLUMNS, Some(&factors)).unwrap();
        let of_products = Gptq::new(&scaled, COLUMNS, None).unwrap();
        assert_eq!(with_factors.order, of_products.order);
        let levels = with_factors.round_row(&row, 0.1, 127);
        let expected = of_products.round_row(&row, 0.1, 127);
        let same = levels.iter().zip(&expected).filter(|(a, b)| a == b).count();
        assert!(same >= COLUMNS - 1, "{levels:?}, {expected:?}");
    }

    #[test]
    fn what_does_not_fit() {
        assert!(Gptq::new(&[1.0; 9], 2, None).is_none());
        assert!(Gptq::new(&[f32::NAN; 4], 2, None).is_none());
        assert!(Gptq::new(&[1.0; 4], 2, Some(&[1.0; 3])).is_none());
        assert!(Gptq::new(&[], 0, None).is_some());
    }
}
