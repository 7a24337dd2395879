//! Layers as exporters spell them: what to look for behind a value, from its end to its start.
//!
//! Each pattern takes the value that a layer computes and gives the layer's parameters and input. `None`
//! means that the value comes from something else.

use super::super::tensor::StoredTensor;
use super::graph::{Graph, Node, ValueId};

/// A convolution with its bias and the batch norm behind it, where it has them.
pub(super) struct Conv {
    pub(super) input: ValueId,
    pub(super) weight: StoredTensor,
    pub(super) bias: Option<StoredTensor>,
    pub(super) norm: Option<BatchNorm>,
    /// Down, across.
    pub(super) strides: [i64; 2],
    pub(super) padding: Padding,
    pub(super) groups: i64,
}

/// What a convolution or a pool adds around its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// At the top, left, bottom and right.
    Zeros([i64; 4]),
    /// As much as keeps the size, the odd one at the bottom and right.
    SameUpper,
}

/// The tensors of a batch norm.
pub(super) struct BatchNorm {
    pub(super) scale: StoredTensor,
    pub(super) bias: StoredTensor,
    pub(super) mean: StoredTensor,
    pub(super) variance: StoredTensor,
}

/// A linear layer: its weight as `[out, in]`.
pub(super) struct Linear {
    pub(super) input: ValueId,
    pub(super) weight: StoredTensor,
    pub(super) bias: Option<StoredTensor>,
}

/// A layer norm over the last axis.
pub(super) struct LayerNorm {
    pub(super) input: ValueId,
    pub(super) scale: StoredTensor,
    pub(super) bias: StoredTensor,
    pub(super) epsilon: f32,
}

/// How far numbers of a graph may be from what they should be, relative to them: exporters write
/// them in f32.
const TOLERANCE: f32 = 1e-4;
/// Epsilon of batch norms, which `weights/fold.rs` folds with.
const BATCH_NORM_EPSILON: f32 = 1e-5;
/// What ONNX takes where a node does not say.
const DEFAULT_EPSILON: f32 = 1e-5;

/// Whether a number of the graph is the one that is expected.
pub(super) fn close(found: f32, expected: f32) -> bool {
    (found - expected).abs() <= TOLERANCE * expected.abs()
}

impl<'a> Graph<'a> {
    /// The node of a kind that computes a value.
    fn of_kind(&self, value: ValueId, kinds: &[&str]) -> Option<&Node<'a>> {
        let (node, output) = self.node(self.same(value))?;
        (output == 0 && kinds.contains(&node.kind)).then_some(node)
    }

    /// The inputs of a node of two, both ways round.
    fn both_ways(&self, node: &Node) -> Option<[(ValueId, ValueId); 2]> {
        let (a, b) = (self.input(node, 0)?, self.input(node, 1)?);
        Some([(a, b), (b, a)])
    }

    /// The other operand of an addition or product with a vector of constants, and the constants.
    fn with_vector(&self, value: ValueId, kind: &str) -> Option<(ValueId, StoredTensor)> {
        let node = self.of_kind(value, &[kind])?;
        self.both_ways(node)?
            .into_iter()
            .find_map(|(other, constant)| Some((other, vector(self.constant(constant)?)?)))
    }

    /// The operands of an addition of two values, neither a constant.
    pub(super) fn sum(&self, value: ValueId) -> Option<[ValueId; 2]> {
        let node = self.of_kind(value, &["Add", "Sum"])?;
        let [(a, b), _] = self.both_ways(node)?;
        let computed = !self.is_constant(a) && !self.is_constant(b);
        (computed && self.inputs(node) == 2).then_some([a, b])
    }

    /// The operands of a product of two values, neither a constant.
    pub(super) fn product(&self, value: ValueId) -> Option<[ValueId; 2]> {
        let node = self.of_kind(value, &["Mul"])?;
        let [(a, b), _] = self.both_ways(node)?;
        (!self.is_constant(a) && !self.is_constant(b)).then_some([a, b])
    }

    /// The input of a node of a kind.
    pub(super) fn unary(&self, value: ValueId, kind: &str) -> Option<ValueId> {
        self.input(self.of_kind(value, &[kind])?, 0)
    }

    /// A softmax over the last axis.
    pub(super) fn softmax(&self, value: ValueId) -> Option<ValueId> {
        self.unary(value, "Softmax")
    }

    /// A convolution in two dimensions, its bias inside or added behind it, and a batch norm.
    pub(super) fn conv(&self, value: ValueId) -> Option<Conv> {
        let (value, norm) = match self.batch_norm(value) {
            Some((input, norm)) => (input, Some(norm)),
            None => (value, None),
        };
        let (value, added) = match self.with_vector(value, "Add") {
            Some((input, bias)) => (input, Some(bias)),
            None => (value, None),
        };
        let node = self.of_kind(value, &["Conv"])?;
        let weight = self.constant(self.input(node, 1)?)?.clone();
        let &[_, _, height, width] = weight.shape() else {
            return None;
        };
        let inner = match self.input(node, 2) {
            Some(bias) => Some(vector(self.constant(bias)?)?),
            None => None,
        };
        let bias = match (inner, added) {
            (Some(_), Some(_)) => return None,
            (inner, added) => inner.or(added),
        };
        let kernel = self.ints(node, "kernel_shape");
        let plain = kernel.is_none_or(|kernel| kernel == [height as i64, width as i64])
            && self.ints(node, "dilations").is_none_or(|sizes| sizes == [1, 1]);
        let strides = self.ints(node, "strides").unwrap_or_else(|| vec![1, 1]);
        let strides = strides.try_into().ok()?;
        plain.then_some(Conv {
            input: self.input(node, 0)?,
            weight,
            bias,
            norm,
            strides,
            padding: self.padding(node)?,
            groups: self.int(node, "group").unwrap_or(1),
        })
    }

    fn padding(&self, node: &Node) -> Option<Padding> {
        match self.text(node, "auto_pad").unwrap_or("NOTSET") {
            "NOTSET" => {
                let pads = self.ints(node, "pads").unwrap_or_else(|| vec![0; 4]);
                Some(Padding::Zeros(pads.try_into().ok()?))
            }
            "VALID" => Some(Padding::Zeros([0; 4])),
            "SAME_UPPER" => Some(Padding::SameUpper),
            _ => None,
        }
    }

    fn batch_norm(&self, value: ValueId) -> Option<(ValueId, BatchNorm)> {
        let node = self.of_kind(value, &["BatchNormalization"])?;
        let epsilon = self.float(node, "epsilon").unwrap_or(DEFAULT_EPSILON);
        let part = |index| self.constant(self.input(node, index)?).cloned();
        let norm =
            BatchNorm { scale: part(1)?, bias: part(2)?, mean: part(3)?, variance: part(4)? };
        close(epsilon, BATCH_NORM_EPSILON).then_some((self.input(node, 0)?, norm))
    }

    /// A product with a constant matrix and the bias added to it.
    pub(super) fn linear(&self, value: ValueId) -> Option<Linear> {
        if let Some(node) = self.of_kind(value, &["Gemm"]) {
            let one = |name| self.float(node, name).unwrap_or(1.0) == 1.0;
            let plain = one("alpha") && one("beta") && self.int(node, "transA").unwrap_or(0) == 0;
            let weight = self.matrix(self.raw_input(node, 1)?)?;
            let weight = match self.int(node, "transB").unwrap_or(0) {
                0 => weight.transposed()?,
                _ => weight,
            };
            let bias = match self.input(node, 2) {
                Some(bias) => Some(vector(self.constant(bias)?)?),
                None => None,
            };
            return plain.then_some(Linear { input: self.input(node, 0)?, weight, bias });
        }
        let (value, bias) = match self.with_vector(value, "Add") {
            Some((input, bias)) => (input, Some(bias)),
            None => (value, None),
        };
        let node = self.of_kind(value, &["MatMul"])?;
        let weight = self.matrix(self.raw_input(node, 1)?)?.transposed()?;
        Some(Linear { input: self.input(node, 0)?, weight, bias })
    }

    /// A constant matrix, or one that is transposed.
    fn matrix(&self, value: ValueId) -> Option<StoredTensor> {
        if let Some(constant) = self.constant(value) {
            return (constant.shape().len() == 2).then(|| constant.clone());
        }
        let (node, _) = self.node(value)?;
        let constant = self.constant(self.raw_input(node, 0)?)?;
        match node.kind {
            "Identity" | "Cast" => (constant.shape().len() == 2).then(|| constant.clone()),
            "Transpose" => constant.transposed(),
            _ => None,
        }
    }

    /// A layer norm, as one operation or spelled out.
    pub(super) fn layer_norm(&self, value: ValueId) -> Option<LayerNorm> {
        if let Some(node) = self.of_kind(value, &["LayerNormalization"]) {
            let part = |index| vector(self.constant(self.input(node, index)?)?);
            return Some(LayerNorm {
                input: self.input(node, 0)?,
                scale: part(1)?,
                bias: part(2)?,
                epsilon: self.float(node, "epsilon").unwrap_or(DEFAULT_EPSILON),
            });
        }
        let (value, bias) = self.with_vector(value, "Add")?;
        let (value, scale) = self.with_vector(value, "Mul")?;
        // The distance from the mean, divided by the standard deviation.
        let quotient = self.of_kind(value, &["Div"])?;
        let (distance, deviation) = (self.input(quotient, 0)?, self.input(quotient, 1)?);
        let difference = self.of_kind(distance, &["Sub"])?;
        let (input, mean) = (self.input(difference, 0)?, self.input(difference, 1)?);
        (self.unary(mean, "ReduceMean")? == input).then_some(())?;
        let variance = self.of_kind(self.unary(deviation, "Sqrt")?, &["Add"])?;
        let (square, epsilon) = self
            .both_ways(variance)?
            .into_iter()
            .find_map(|(square, epsilon)| Some((square, self.number(epsilon)?)))?;
        let square = self.unary(square, "ReduceMean")?;
        let square = self.of_kind(square, &["Pow", "Mul"])?;
        let second = self.input(square, 1)?;
        let squared = match square.kind {
            "Pow" => self.number(second) == Some(2.0),
            _ => second == distance,
        };
        (squared && self.input(square, 0)? == distance).then_some(())?;
        Some(LayerNorm { input, scale, bias, epsilon })
    }

    /// GELU with erf: one operation, or x / sqrt(2), erf, + 1, * x, * 0.5 in any order of factors.
    pub(super) fn gelu(&self, value: ValueId) -> Option<ValueId> {
        if let Some(node) = self.of_kind(value, &["Gelu"]) {
            let exact = self.text(node, "approximate").unwrap_or("none") == "none";
            return exact.then(|| self.input(node, 0))?;
        }
        let times = |value: ValueId| self.both_ways(self.of_kind(value, &["Mul"])?);
        let half = |value: ValueId| self.number(value).is_some_and(|half| half == 0.5);
        times(value)?.into_iter().find_map(|(a, b)| {
            if half(a) {
                return times(b)?
                    .into_iter()
                    .find_map(|(x, erf)| (self.one_plus_erf(erf)? == x).then_some(x));
            }
            if let Some(x) = self.one_plus_erf(a) {
                return times(b)?
                    .into_iter()
                    .find_map(|(half_x, number)| (half_x == x && half(number)).then_some(x));
            }
            times(a)?.into_iter().find_map(|(erf, number)| {
                (half(number) && self.one_plus_erf(erf)? == b).then_some(b)
            })
        })
    }

    /// 1 + erf(x / sqrt(2)); gives x.
    fn one_plus_erf(&self, value: ValueId) -> Option<ValueId> {
        let sum = self.of_kind(value, &["Add"])?;
        let erf = self
            .both_ways(sum)?
            .into_iter()
            .find_map(|(erf, one)| (self.number(one)? == 1.0).then_some(erf))?;
        let scaled = self.of_kind(self.unary(erf, "Erf")?, &["Div", "Mul"])?;
        if scaled.kind == "Div" {
            let divisor = self.number(self.input(scaled, 1)?)?;
            return close(divisor, std::f32::consts::SQRT_2).then(|| self.input(scaled, 0))?;
        }
        self.both_ways(scaled)?.into_iter().find_map(|(x, factor)| {
            close(self.number(factor)?, std::f32::consts::FRAC_1_SQRT_2).then_some(x)
        })
    }

    /// x * sigmoid(x).
    pub(super) fn swish(&self, value: ValueId) -> Option<ValueId> {
        if let Some(node) = self.of_kind(value, &["Swish"]) {
            let plain = self.float(node, "alpha").unwrap_or(1.0) == 1.0;
            return plain.then(|| self.input(node, 0))?;
        }
        let node = self.of_kind(value, &["Mul"])?;
        self.both_ways(node)?
            .into_iter()
            .find_map(|(x, gate)| (self.unary(gate, "Sigmoid")? == x).then_some(x))
    }

    /// x * clamp(x / 6 + 0.5, 0, 1).
    pub(super) fn hard_swish(&self, value: ValueId) -> Option<ValueId> {
        if let Some(input) = self.unary(value, "HardSwish") {
            return Some(input);
        }
        let node = self.of_kind(value, &["Mul"])?;
        self.both_ways(node)?
            .into_iter()
            .find_map(|(x, gate)| (self.hard_sigmoid(gate)? == x).then_some(x))
    }

    /// clamp(x / 6 + 0.5, 0, 1).
    pub(super) fn hard_sigmoid(&self, value: ValueId) -> Option<ValueId> {
        self.hard_sigmoid_of(value, 1.0 / 6.0)
    }

    /// clamp(slope * x + 0.5, 0, 1).
    pub(super) fn hard_sigmoid_of(&self, value: ValueId, expected: f32) -> Option<ValueId> {
        let node = self.of_kind(value, &["HardSigmoid"])?;
        let slope = self.float(node, "alpha").unwrap_or(0.2);
        let offset = self.float(node, "beta").unwrap_or(0.5);
        (close(slope, expected) && close(offset, 0.5)).then(|| self.input(node, 0))?
    }

    /// A transposed convolution of 2x2 with a stride of 2: its input, its weight `[in, out, 2, 2]` and the bias
    /// inside it or added behind it.
    pub(super) fn transposed_conv(
        &self,
        value: ValueId,
    ) -> Option<(ValueId, StoredTensor, StoredTensor)> {
        // The bias may be of a single channel, in any shape.
        let flat = |constant: &StoredTensor| {
            let count = constant.shape().iter().product();
            constant.reshaped(vec![count])
        };
        let added = self.of_kind(value, &["Add"]).and_then(|node| {
            self.both_ways(node)?
                .into_iter()
                .find_map(|(input, constant)| Some((input, flat(self.constant(constant)?)?)))
        });
        let (value, added) = match added {
            Some((input, bias)) => (input, Some(bias)),
            None => (value, None),
        };
        let node = self.of_kind(value, &["ConvTranspose"])?;
        let inner = self.input(node, 2).and_then(|bias| flat(self.constant(bias)?));
        let weight = self.constant(self.input(node, 1)?)?;
        let sizes =
            |name: &str, plain: &[i64]| self.ints(node, name).is_none_or(|found| found == plain);
        let plain = self.ints(node, "strides")? == [2, 2]
            && sizes("kernel_shape", &[2, 2])
            && sizes("dilations", &[1, 1])
            && sizes("output_padding", &[0, 0])
            && self.int(node, "group").unwrap_or(1) == 1
            && self.ints(node, "output_shape").is_none()
            && matches!(self.padding(node)?, Padding::Zeros([0, 0, 0, 0]));
        let bias = match (inner, added) {
            (Some(_), Some(_)) => return None,
            (inner, added) => inner.or(added)?,
        };
        plain.then(|| Some((self.input(node, 0)?, weight.clone(), bias)))?
    }

    /// A map whose positions are each repeated to `factor` x `factor`; gives the map.
    pub(super) fn repeated(&self, value: ValueId, factor: usize) -> Option<ValueId> {
        let node = self.of_kind(value, &["Resize", "Upsample"])?;
        let nearest = self.text(node, "mode").unwrap_or("nearest") == "nearest";
        let text = |name: &str| self.text(node, name).unwrap_or("");
        let (place, round) = (text("coordinate_transformation_mode"), text("nearest_mode"));
        // All of these repeat positions where the factor is whole; ONNX's defaults are the last ones.
        let whole = node.kind == "Upsample"
            || matches!(
                (place, round),
                ("asymmetric", "floor") | ("half_pixel" | "", "round_prefer_floor" | "")
            );
        let scales = self.constant(self.input(node, self.inputs(node).checked_sub(1)?)?)?;
        let scales = (scales.shape() == [4]).then(|| scales.values("").ok())??;
        let fits = scales == [1.0, 1.0, factor as f32, factor as f32];
        (nearest && whole && fits).then(|| self.input(node, 0))?
    }

    /// The mean over height and width.
    pub(super) fn mean(&self, value: ValueId) -> Option<ValueId> {
        let node = self.of_kind(value, &["ReduceMean", "GlobalAveragePool"])?;
        if node.kind == "ReduceMean"
            && let Some(axes) = self.ints(node, "axes")
        {
            (axes == [2, 3] || axes == [-2, -1]).then_some(())?;
        }
        self.input(node, 0)
    }

    /// A pool's input, kernel, strides and padding.
    pub(super) fn pool(
        &self,
        value: ValueId,
        kind: &str,
    ) -> Option<(ValueId, [i64; 2], [i64; 2], Padding)> {
        let node = self.of_kind(value, &[kind])?;
        let kernel = self.ints(node, "kernel_shape")?.try_into().ok()?;
        let strides = self.ints(node, "strides").unwrap_or_else(|| vec![1, 1]).try_into().ok()?;
        Some((self.input(node, 0)?, kernel, strides, self.padding(node)?))
    }

    /// The values that a concatenation of channels puts behind each other.
    pub(super) fn concatenated(&self, value: ValueId) -> Option<Vec<ValueId>> {
        let node = self.of_kind(value, &["Concat"])?;
        let inputs = (0..self.inputs(node)).map(|index| self.input(node, index));
        (self.int(node, "axis") == Some(1)).then(|| inputs.collect())?
    }

    /// Two of them.
    pub(super) fn concatenation(&self, value: ValueId) -> Option<[ValueId; 2]> {
        self.concatenated(value)?.try_into().ok()
    }

    /// Self-attention over the parts of one product: its input (queries, keys and values side by
    /// side) and the scale of the scores.
    pub(super) fn attention(&self, value: ValueId) -> Option<(ValueId, f32)> {
        let node = self.of_kind(value, &["MatMul"])?;
        let (weights, values) = (self.input(node, 0)?, self.input(node, 1)?);
        let (scores, mut scale) = self.scaled(self.softmax(weights)?)?;
        let product = self.of_kind(scores, &["MatMul"])?;
        let parts = [self.input(product, 0)?, self.input(product, 1)?, values];
        let mut found = Vec::with_capacity(parts.len());
        for part in parts {
            let (part, factor) = self.scaled(part)?;
            scale *= factor;
            let (whole, number) = self.part(part)?;
            // Queries and keys may be scaled before they are taken apart, too.
            found.push((whole, number));
        }
        let [(whole, first), (keys, second), (values, third)] = found[..] else {
            return None;
        };
        let ordered = first < second && second < third;
        (whole == keys && whole == values && ordered).then_some((whole, scale))
    }

    /// A value times or over a number, plus nothing; and the number.
    fn scaled(&self, value: ValueId) -> Option<(ValueId, f32)> {
        let (mut value, mut scale) = (self.same(value), 1.0);
        // A factor and a zero, at the most.
        for _ in 0..3 {
            let Some(node) = self.of_kind(value, &["Mul", "Div", "Add"]) else {
                break;
            };
            let [straight, reversed] = self.both_ways(node)?;
            let ways = if node.kind == "Div" { vec![straight] } else { vec![straight, reversed] };
            let numbers = ways.into_iter().find_map(|(x, y)| Some((x, self.number(y)?)));
            let Some((input, number)) = numbers else {
                break;
            };
            match node.kind {
                "Mul" => scale *= number,
                "Div" => scale /= number,
                _ if number != 0.0 => return None,
                _ => {}
            }
            value = input;
        }
        Some((value, scale))
    }

    /// Which part of a value another one is: the value, and a number that grows with the place of the
    /// part.
    fn part(&self, value: ValueId) -> Option<(ValueId, i64)> {
        let (node, output) = self.node(self.same(value))?;
        let place = match node.kind {
            "Split" => output as i64,
            "Slice" => {
                let starts = self.input(node, 1).and_then(|starts| self.integer(starts));
                starts.or_else(|| self.ints(node, "starts")?.first().copied())?
            }
            "Gather" => self.integer(self.input(node, 1)?)?,
            _ => return None,
        };
        (place >= 0).then(|| Some((self.input(node, 0)?, place)))?
    }
}

/// A constant that is a vector: of the shape `[channels]`, or with ones around it.
fn vector(constant: &StoredTensor) -> Option<StoredTensor> {
    let mut wide = constant.shape().iter().filter(|&&size| size != 1);
    let channels = wide.next().copied()?;
    if wide.next().is_some() {
        return None;
    }
    constant.reshaped(vec![channels])
}
