//! Channels of two inputs side by side.

/// Rows of `a` followed by those of `b`: `[rows, channels_a]` and `[rows, channels_b]` to
/// `[rows, channels_a + channels_b]`.
pub(crate) fn concat_channels(
    a: &[f32],
    channels_a: usize,
    b: &[f32],
    channels_b: usize,
) -> Vec<f32> {
    let rows = |values: &[f32], channels: usize| values.len().checked_div(channels).unwrap_or(0);
    let (rows_a, rows_b) = (rows(a, channels_a), rows(b, channels_b));
    assert_eq!(a.len(), rows_a * channels_a, "the first input has no whole rows");
    assert_eq!(b.len(), rows_b * channels_b, "the second input has no whole rows");
    assert!(rows_a == rows_b || channels_a == 0 || channels_b == 0, "inputs of different rows");
    let mut joined = Vec::with_capacity(a.len() + b.len());
    for row in 0..rows_a.max(rows_b) {
        joined.extend_from_slice(&a[row * channels_a..][..channels_a]);
        joined.extend_from_slice(&b[row * channels_b..][..channels_b]);
    }
    joined
}

/// What [`concat_channels`] joins: rows of `channels_a` and of `channels_b`.
#[cfg(feature = "train")]
pub(crate) fn split_channels(
    joined: &[f32],
    channels_a: usize,
    channels_b: usize,
) -> (Vec<f32>, Vec<f32>) {
    let channels = (channels_a + channels_b).max(1);
    assert!(joined.len().is_multiple_of(channels), "the input has no whole rows");
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for row in joined.chunks_exact(channels) {
        a.extend_from_slice(&row[..channels_a]);
        b.extend_from_slice(&row[channels_a..]);
    }
    (a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "train")]
    #[test]
    fn split_undoes_concat() {
        let (a, b) = (vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0]);
        assert_eq!(split_channels(&concat_channels(&a, 2, &b, 1), 2, 1), (a, b));
        assert_eq!(split_channels(&[], 0, 0), (vec![], vec![]));
    }

    #[test]
    fn rows_follow_each_other() {
        let joined = concat_channels(&[1.0, 2.0, 3.0, 4.0], 2, &[5.0, 6.0], 1);
        assert_eq!(joined, [1.0, 2.0, 5.0, 3.0, 4.0, 6.0]);
        assert_eq!(concat_channels(&[], 0, &[5.0, 6.0], 1), [5.0, 6.0]);
        assert!(concat_channels(&[], 3, &[], 1).is_empty());
    }
}
