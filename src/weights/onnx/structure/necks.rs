//! Classifier and neck: LightSVTR of the small and medium networks, two convolutions in the tiny one.

use super::super::graph::ValueId;
use super::super::patterns::{Conv, Padding, close};
use super::Walk;
use crate::error::Result;

const NECK: &str = "decoder.svtr_encoder";
/// Heads of the neck's attention.
const HEADS: f32 = 8.0;
/// Epsilon of the layer norms in the neck's blocks, and of the one behind them.
const BLOCK_EPSILON: f32 = 1e-5;
const LAST_EPSILON: f32 = 1e-6;
/// Blocks of a neck: the published ones have two.
const MAX_BLOCKS: usize = 64;

impl Walk<'_, '_> {
    /// From the output to the encoder's pooled features.
    pub(super) fn head(&mut self) -> Result<ValueId> {
        let graph = self.graph;
        let output = graph.same(graph.output());
        let logits = graph.softmax(output).unwrap_or(output);
        let classifier =
            self.find(graph.linear(logits), logits, "the classifier, a linear layer")?;
        let features = classifier.input;
        self.put_linear("decoder.fc", classifier);
        match graph.sum(features) {
            Some(operands) => self.light_svtr(features, operands),
            None => self.local_neck(features),
        }
    }

    /// Depthwise and 1x1 convolutions with hard swish, then a linear layer.
    fn local_neck(&mut self, value: ValueId) -> Result<ValueId> {
        let graph = self.graph;
        let what =
            "the neck, a linear layer behind two convolutions or a sum with a skipped branch";
        let reduce = self.find(graph.linear(value), value, what)?;
        let value = reduce.input;
        self.put_linear("decoder.reduce", reduce);
        let conv = graph.hard_swish(value).and_then(|value| graph.conv(value)).filter(is_pointwise);
        let point = self.find(conv, value, "the neck's 1x1 convolution with hard swish")?;
        let value = point.input;
        self.put_neck_conv("point", point);
        let conv = graph.hard_swish(value).and_then(|value| graph.conv(value));
        let mix = self.find(
            conv.filter(is_row),
            value,
            "the neck's depthwise convolution with hard swish",
        )?;
        let value = mix.input;
        self.put_neck_conv("mix", mix);
        Ok(value)
    }

    /// Two branches of the pooled features, one of them through attention over the frames.
    fn light_svtr(&mut self, sum: ValueId, operands: [ValueId; 2]) -> Result<ValueId> {
        let graph = self.graph;
        let [a, b] = operands;
        let found = [(a, b), (b, a)]
            .into_iter()
            .find_map(|(normed, skipped)| Some((graph.layer_norm(normed)?, skipped)));
        let (norm, skipped) =
            self.find(found, sum, "the sum of a layer norm and a skipped branch")?;
        let epsilon = close(norm.epsilon, LAST_EPSILON).then_some(());
        self.find(epsilon, sum, "behind a layer norm with an epsilon of 1e-6")?;
        let value = norm.input;
        self.put_layer_norm(&format!("{NECK}.norm"), norm);

        let conv = graph.swish(skipped).and_then(|value| graph.conv(value)).filter(is_pointwise);
        let skip = self.find(conv, skipped, "the skipped 1x1 convolution with swish")?;
        let features = skip.input;
        self.put_neck_conv("skip", skip);

        let value = self.transformer_blocks(value)?;
        let what = "the sum of a convolution with swish and its input, or a block of attention";
        let [a, b] = self.find(graph.sum(value), value, what)?;
        let mixed = [(a, b), (b, a)].into_iter().find_map(|(input, branch)| {
            let conv = graph.conv(graph.swish(branch)?).filter(is_row)?;
            (conv.input == input).then_some(conv)
        });
        let mix =
            self.find(mixed, value, "the sum of a depthwise 1xN convolution and its input")?;
        let value = mix.input;
        self.put_neck_conv("mix", mix);
        let conv = graph.swish(value).and_then(|value| graph.conv(value)).filter(is_pointwise);
        let reduce = self.find(conv, value, "the neck's 1x1 convolution with swish")?;
        let same = (reduce.input == features).then_some(());
        self.find(same, value, "a convolution of the same features as the skipped one")?;
        self.put_neck_conv("reduce", reduce);
        Ok(features)
    }

    fn put_neck_conv(&mut self, name: &str, conv: Conv) {
        let (conv_name, norm_name) = (format!("{NECK}.{name}.conv"), format!("{NECK}.{name}.norm"));
        self.put_conv(&conv_name, &norm_name, conv);
    }

    /// All blocks of attention that end in a value; gives their input.
    fn transformer_blocks(&mut self, mut value: ValueId) -> Result<ValueId> {
        let graph = self.graph;
        let mut blocks = Vec::new();
        while let Some((input, inner)) = self.residual_linear(value) {
            if blocks.len() >= MAX_BLOCKS {
                return Err(self.misfit(value, "one of at most 64 blocks of attention"));
            }
            let (fc2, activated) = inner;
            let found = graph.swish(activated).and_then(|value| graph.linear(value));
            let fc1 = self.find(found, activated, "a linear layer with swish")?;
            let found = graph.layer_norm(fc1.input).filter(|norm| norm.input == input);
            let norm2 = self.find(found, fc1.input, "the layer norm of the block's second half")?;

            let found = self.residual_linear(input);
            let (start, (proj, mixed)) =
                self.find(found, input, "the sum of attention and its input")?;
            let found = graph.attention(mixed);
            let (parts, scale) =
                self.find(found, mixed, "attention over parts of one linear layer")?;
            let qkv = self.find(
                graph.linear(parts),
                parts,
                "the linear layer of queries, keys and values",
            )?;
            let found = graph.layer_norm(qkv.input).filter(|norm| norm.input == start);
            let norm1 = self.find(found, qkv.input, "the layer norm of the block's first half")?;

            let dim = proj.weight.shape().first().map_or(0.0, |&dim| dim as f32);
            let scaled = close(scale, (dim / HEADS).powf(-0.5)).then_some(());
            self.find(scaled, mixed, "attention with 8 heads, scaled by the root of their width")?;
            let both = [norm1.epsilon, norm2.epsilon].iter().all(|&eps| close(eps, BLOCK_EPSILON));
            self.find(both.then_some(()), input, "between layer norms with an epsilon of 1e-5")?;
            blocks.push((norm1, qkv, proj, norm2, fc1, fc2));
            value = start;
        }
        for (number, (norm1, qkv, proj, norm2, fc1, fc2)) in blocks.into_iter().rev().enumerate() {
            let block = format!("{NECK}.svtr_block.{number}");
            self.put_layer_norm(&format!("{block}.norm1"), norm1);
            self.put_linear(&format!("{block}.mixer.qkv"), qkv);
            self.put_linear(&format!("{block}.mixer.proj"), proj);
            self.put_layer_norm(&format!("{block}.norm2"), norm2);
            self.put_linear(&format!("{block}.mlp.fc1"), fc1);
            self.put_linear(&format!("{block}.mlp.fc2"), fc2);
        }
        Ok(value)
    }

    /// `x + linear(y)`: x, the layer, and y.
    fn residual_linear(
        &self,
        value: ValueId,
    ) -> Option<(ValueId, (super::super::patterns::Linear, ValueId))> {
        let [a, b] = self.graph.sum(value)?;
        // Of two linear layers the later one is the branch: it is never the input of the other.
        [(a, b), (b, a)].into_iter().find_map(|(input, branch)| {
            let layer = self.graph.linear(branch)?;
            let inner = layer.input;
            Some((input, (layer, inner)))
        })
    }
}

/// A convolution of 1x1 that keeps the size.
pub(super) fn is_pointwise(conv: &Conv) -> bool {
    let shape = conv.weight.shape();
    let unpadded = matches!(conv.padding, Padding::Zeros([0, 0, 0, 0]) | Padding::SameUpper);
    shape[2..] == [1, 1] && conv.groups == 1 && conv.strides == [1, 1] && unpadded
}

/// A depthwise convolution along the width that keeps the size.
fn is_row(conv: &Conv) -> bool {
    let &[channels, 1, 1, width] = conv.weight.shape() else {
        return false;
    };
    let half = (width / 2) as i64;
    let keeps = match conv.padding {
        Padding::Zeros(zeros) => zeros == [0, half, 0, half],
        Padding::SameUpper => true,
    };
    width % 2 == 1 && conv.groups == channels as i64 && conv.strides == [1, 1] && keeps
}
