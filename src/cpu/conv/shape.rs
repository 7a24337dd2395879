//! Where the kernel of a convolution lies.

/// The largest side of a kernel, the largest stride and padding.
pub(in crate::cpu) const MAX_KERNEL: usize = 15;
/// Positions of zeros around an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Padding {
    pub top: usize,
    pub left: usize,
    pub bottom: usize,
    pub right: usize,
}

/// Where the kernel of a convolution lies for every output position. Pairs are rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub kernel: (usize, usize),
    /// From one output position to the next.
    pub stride: (usize, usize),
    pub padding: Padding,
}

impl ConvShape {
    /// 3x3 with padding 1.
    pub(crate) const fn new_3x3(stride: (usize, usize)) -> Self {
        Self::centred((3, 3), stride)
    }

    /// A kernel of odd sides with as much padding on each side as keeps the size of the input at stride 1.
    pub(crate) const fn centred(kernel: (usize, usize), stride: (usize, usize)) -> Self {
        let (rows, columns) = (kernel.0 / 2, kernel.1 / 2);
        let padding = Padding { top: rows, left: columns, bottom: rows, right: columns };
        ConvShape { kernel, stride, padding }
    }

    /// Positions under the kernel.
    pub(crate) const fn taps(self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// The grid of the output; a side is 0 where the padded input is smaller than the kernel.
    pub(crate) fn output_grid(self, height: usize, width: usize) -> (usize, usize) {
        let steps = |size: usize, before: usize, after: usize, kernel: usize, stride: usize| {
            (size + before + after).checked_sub(kernel).map_or(0, |rest| rest / stride + 1)
        };
        let Padding { top, left, bottom, right } = self.padding;
        (
            steps(height, top, bottom, self.kernel.0, self.stride.0),
            steps(width, left, right, self.kernel.1, self.stride.1),
        )
    }

    /// # Panics
    /// If a side of the kernel or a stride is 0, or anything is above [`MAX_KERNEL`].
    pub(in crate::cpu) fn check(self) {
        let ConvShape { kernel, stride, padding } = self;
        let sides = [kernel.0, kernel.1, stride.0, stride.1];
        let fit = sides.iter().all(|side| (1..=MAX_KERNEL).contains(side));
        assert!(fit, "a kernel or stride of 0, or beyond {MAX_KERNEL}: {self:?}");
        let Padding { top, left, bottom, right } = padding;
        let fit = [top, left, bottom, right].iter().all(|&side| side <= MAX_KERNEL);
        assert!(fit, "padding beyond {MAX_KERNEL}: {self:?}");
    }

    /// The input row or column under a part of the kernel, if it is inside the input.
    fn under(step: usize, stride: usize, part: usize, before: usize, size: usize) -> Option<usize> {
        (step * stride + part).checked_sub(before).filter(|&at| at < size)
    }

    /// The input row under a row of the kernel at an output row; none in the padding.
    pub(in crate::cpu) fn row_under(
        self,
        output_row: usize,
        part: usize,
        height: usize,
    ) -> Option<usize> {
        Self::under(output_row, self.stride.0, part, self.padding.top, height)
    }

    /// The same of columns.
    pub(in crate::cpu) fn column_under(
        self,
        output: usize,
        part: usize,
        width: usize,
    ) -> Option<usize> {
        Self::under(output, self.stride.1, part, self.padding.left, width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_grids() {
        let square = Padding { top: 0, left: 0, bottom: 1, right: 1 };
        let square = ConvShape { kernel: (2, 2), stride: (1, 1), padding: square };
        let padding = Padding { top: 0, left: 1, bottom: 0, right: 0 };
        let lopsided = ConvShape { kernel: (3, 3), stride: (2, 1), padding };
        for (shape, input, output) in [
            (ConvShape::new_3x3((2, 1)), (9, 5), (5, 5)),
            (ConvShape::new_3x3((2, 2)), (48, 1), (24, 1)),
            (ConvShape::centred((1, 7), (1, 1)), (1, 40), (1, 40)),
            (square, (3, 4), (3, 4)),
            (lopsided, (2, 1), (0, 0)),
            (lopsided, (3, 2), (1, 1)),
        ] {
            assert_eq!(shape.output_grid(input.0, input.1), output, "{shape:?} of {input:?}");
        }
    }

    #[test]
    #[should_panic(expected = "beyond 15")]
    fn kernels_are_small() {
        ConvShape::centred((1, 16), (1, 1)).check();
    }

    #[test]
    #[should_panic(expected = "of 0")]
    fn strides_move() {
        ConvShape::new_3x3((1, 0)).check();
    }
}
