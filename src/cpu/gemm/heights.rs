//! How the rows of a product are divided into tiles of registers.

/// Rows of the next tile, at most `MR`: 1, 2, 3, 4, 6 or 8, as there is code for each (5 and 7 would be half as much
/// again, for one tile less at the end of some products). The last tiles share what remains, so that none is much smaller
/// than the others: few rows leave the multipliers waiting for sums.
#[inline(always)]
pub(super) fn tile_height<const MR: usize>(remaining: usize) -> usize {
    let height = if remaining <= MR {
        remaining
    } else if remaining < 2 * MR {
        remaining.div_ceil(2)
    } else {
        MR
    };
    match height {
        5 | 7 if remaining <= MR => height.div_ceil(2),
        5 | 7 => height + 1,
        // 8 and 3 instead of 6, 3 and 2.
        6 if remaining == 11 && MR >= 8 => 8,
        _ => height,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heights<const MR: usize>(mut rows: usize) -> Vec<usize> {
        let mut heights = Vec::new();
        while rows > 0 {
            heights.push(tile_height::<MR>(rows));
            rows -= heights[heights.len() - 1];
        }
        heights
    }

    #[test]
    fn tiles_have_a_height_that_there_is_code_for() {
        for rows in 1..100 {
            for (most, heights) in
                [(4, heights::<4>(rows)), (6, heights::<6>(rows)), (8, heights::<8>(rows))]
            {
                assert_eq!(heights.iter().sum::<usize>(), rows);
                assert!(heights.iter().all(|&height| height <= most && ![5, 7].contains(&height)));
                assert!(
                    rows < 3 || heights.iter().all(|&height| height > 1),
                    "{rows}: {heights:?}"
                );
                assert!(heights.len() <= rows.div_ceil(most) + 1, "{rows}: {heights:?}");
            }
        }
        assert_eq!(heights::<8>(29), [8, 8, 8, 3, 2]);
    }
}
