//! Where the input's positions under a kernel lie: the left matrix of a convolution.

use super::super::buffer::Plain;
use super::super::gemm::Rows;
use super::ConvShape;

/// Marks a tap that lies outside the input.
pub(in crate::cpu) const OUTSIDE: usize = usize::MAX;

/// Where the taps of every position lie in an image.
///
/// Invariant: `positions` offsets a tap; `channels` elements of an image lie behind every offset that is not
/// [`OUTSIDE`].
pub(in crate::cpu) struct Taps {
    /// `[taps, positions]`
    offsets: Vec<usize>,
    taps: usize,
    positions: usize,
    /// Elements of an image.
    image_len: usize,
    /// Channels of an image's positions.
    channels: usize,
}

impl Taps {
    /// From the offsets of taps, `[taps, positions]`, in an image of `image_positions` times `channels`
    /// elements.
    ///
    /// # Panics
    /// If an offset is not that of a position, or there are fewer or more.
    pub(in crate::cpu) fn new(
        offsets: Vec<usize>,
        (taps, positions): (usize, usize),
        image_positions: usize,
        channels: usize,
    ) -> Self {
        let image_len = image_positions * channels;
        for &offset in &offsets {
            let inside = offset.checked_add(channels).is_some_and(|end| end <= image_len);
            assert!(offset == OUTSIDE || inside, "a tap beyond the image");
        }
        assert_eq!(offsets.len(), taps * positions, "taps of other positions");
        Taps { offsets, taps, positions, image_len, channels }
    }

    /// Those of every output position in the input.
    pub(in crate::cpu) fn of_output(
        height: usize,
        width: usize,
        in_dim: usize,
        shape: ConvShape,
    ) -> Self {
        let (out_height, out_width) = shape.output_grid(height, width);
        let positions = out_height * out_width;
        let mut offsets = Vec::with_capacity(shape.taps() * positions);
        for tap in 0..shape.taps() {
            let (row_part, column_part) = (tap / shape.kernel.1, tap % shape.kernel.1);
            // Columns grow by the stride: those inside lie between the padding of both ends.
            let column = |x: &usize| shape.column_under(*x, column_part, width);
            let inside = |x: &usize| column(x).is_some();
            let start = (0..out_width).find(inside).unwrap_or(out_width);
            let end = (start..out_width).rfind(inside).map_or(start, |last| last + 1);
            let first = column(&start).unwrap_or(0);
            for y in 0..out_height {
                let Some(row) = shape.row_under(y, row_part, height) else {
                    offsets.resize(offsets.len() + out_width, OUTSIDE);
                    continue;
                };
                let first = (row * width + first) * in_dim;
                offsets.resize(offsets.len() + start, OUTSIDE);
                offsets.extend((0..end - start).map(|i| first + i * shape.stride.1 * in_dim));
                offsets.resize(offsets.len() + out_width - end, OUTSIDE);
            }
        }
        Self::new(offsets, (shape.taps(), positions), height * width, in_dim)
    }

    /// Positions that have taps.
    pub(in crate::cpu) fn positions(&self) -> usize {
        self.positions
    }

    /// Where a tap of a position lies, or [`OUTSIDE`].
    #[cfg(feature = "train")]
    #[inline(always)]
    pub(in crate::cpu) fn offset(&self, position: usize, tap: usize) -> usize {
        self.offsets[tap * self.positions + position]
    }

    /// Elements of an image.
    pub(in crate::cpu) fn image_len(&self) -> usize {
        self.image_len
    }

    /// Channels of an image's positions.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }
}

/// The input's positions under a kernel, one chunk a tap.
pub(super) struct TapRows<'a, E> {
    /// An image, from the group's first channel of the first position on.
    image: &'a [E],
    /// What lies outside the image: as many zeros as a group has channels.
    zeros: &'a [E],
    taps: &'a Taps,
}

impl<'a, E: Plain> TapRows<'a, E> {
    /// Of the group whose channels start at `channel`.
    pub(super) fn new(image: &'a [E], zeros: &'a [E], taps: &'a Taps, channel: usize) -> Self {
        assert_eq!(image.len(), taps.image_len, "an image of another size");
        assert!(channel + zeros.len() <= taps.channels, "channels beyond a position's");
        TapRows { image: &image[channel.min(image.len())..], zeros, taps }
    }
}

// SAFETY: a chunk has as many elements as `zeros`. All channels of a position lie in the image, as
// `Taps` has seen; the group's are among them, as `new` has.
unsafe impl<E: Plain> Rows for TapRows<'_, E> {
    type Element = E;

    #[inline(always)]
    fn count(&self) -> usize {
        self.taps.positions
    }

    #[inline(always)]
    fn chunks(&self) -> usize {
        self.taps.taps
    }

    #[inline(always)]
    fn chunk_len(&self, _: usize) -> usize {
        self.zeros.len()
    }

    #[inline(always)]
    unsafe fn pointers<const MR: usize>(&self, row: usize, chunk: usize) -> [*const E; MR] {
        let Taps { offsets, taps, positions, .. } = self.taps;
        debug_assert!(row + MR <= *positions && chunk < *taps);
        // SAFETY: the caller asks for rows and a chunk that exist: there is an offset for each of them.
        let offsets = unsafe {
            let start = chunk * positions + row;
            offsets.get_unchecked(start..start + MR)
        };
        std::array::from_fn(|i| match offsets[i] {
            OUTSIDE => self.zeros.as_ptr(),
            // SAFETY: as above: a position's channels lie in the image.
            offset => unsafe { self.image.as_ptr().add(offset) },
        })
    }
}
