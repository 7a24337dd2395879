//! How large the values of a parameter are, row by row and column by column.

/// The least scale of a value, for parameters that are zero: as in Adafactor (Shazeer and Stern, 2018,
/// arXiv 1804.04235), whose steps are relative to a parameter's size, too.
const FLOOR: f64 = 1e-3;
/// The least scale of a vector's values, as a share of their root mean square.
const VECTOR_FLOOR: f64 = 0.1;

/// The scale of every value of a parameter `[rows, columns, ..]`: of a matrix or a kernel the root mean
/// square of its row times that of its column, over that of all; of a vector the value's magnitude, but at
/// least a tenth of the root mean square. None is below 0.001.
///
/// Where batch norms are folded into the weights, channels differ in scale a hundredfold: a step that is
/// right for one destroys another.
pub(super) fn scales(values: &[f32], dims: &[usize]) -> Vec<f32> {
    let square = |x: &f32| f64::from(*x) * f64::from(*x);
    let rms = |sum: f64, count: usize| (sum / count.max(1) as f64).sqrt();
    let all = rms(values.iter().map(square).sum(), values.len());
    let &[rows, columns, ..] = dims else {
        let least = FLOOR.max(VECTOR_FLOOR * all);
        return values.iter().map(|x| f64::from(x.abs()).max(least) as f32).collect();
    };
    let row_len = values.len() / rows.max(1);
    let taps = row_len / columns.max(1);
    if row_len == 0 || taps == 0 {
        return Vec::new();
    }
    let mut column_sums = vec![0.0; columns];
    let mut row_scales = Vec::with_capacity(rows);
    for row in values.chunks(row_len) {
        let mut sum = 0.0;
        for (column, taps) in column_sums.iter_mut().zip(row.chunks(taps)) {
            let part: f64 = taps.iter().map(square).sum();
            *column += part;
            sum += part;
        }
        row_scales.push(rms(sum, row_len));
    }
    let columns: Vec<f64> =
        column_sums.iter().map(|&sum| rms(sum, rows * taps) / all.max(f64::MIN_POSITIVE)).collect();
    let scale = |row: f64, column: f64| (row * column).max(FLOOR) as f32;
    row_scales
        .iter()
        .flat_map(|&row| {
            let columns = &columns;
            columns.iter().flat_map(move |&column| std::iter::repeat_n(scale(row, column), taps))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::scales;

    #[test]
    fn rows_and_columns() {
        // Rank one: every value is its own scale.
        let (rows, columns) = ([1.0f32, 30.0, 0.5], [2.0f32, 0.25]);
        let values: Vec<f32> =
            rows.iter().flat_map(|row| columns.iter().map(move |column| row * column)).collect();
        for (scale, value) in scales(&values, &[3, 2]).iter().zip(&values) {
            assert!((scale / value - 1.0).abs() < 1e-5, "{scale} {value}");
        }
        // A depthwise kernel: one scale a channel.
        let kernel = [3.0f32, -4.0, 0.3, 0.4];
        let found = scales(&kernel, &[2, 1, 1, 2]);
        let wanted = [12.5f32.sqrt(), 12.5f32.sqrt(), 0.125f32.sqrt(), 0.125f32.sqrt()];
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
        assert_eq!(scales(&[0.0; 4], &[2, 2]), [0.001; 4]);
        let bias = scales(&[0.0, -3.0, 4.0, 0.0], &[4]);
        assert_eq!(bias[1..3], [3.0, 4.0]);
        assert!((bias[0] - 0.25).abs() < 1e-6 && bias[0] == bias[3]);
        assert!(scales(&[], &[0, 3]).is_empty() && scales(&[], &[3, 0]).is_empty());
        assert!(scales(&[], &[0]).is_empty());
    }
}
