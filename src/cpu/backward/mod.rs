//! Gradients of the operations: what training needs beside the forward kernels.

mod attention;
mod batch_norm;
mod conv;
mod gelu;
mod layer_norm;
mod linear;
mod products;
mod transposed_product;
mod vertical_attention;

pub(crate) use attention::attention_backward;
pub(crate) use batch_norm::{ChannelStatistics, batch_norm, batch_norm_backward};
pub(crate) use conv::{ConvShape, conv_forward, conv_input_gradient, conv_weight_gradient};
pub(crate) use gelu::{gelu, gelu_backward};
pub(crate) use layer_norm::layer_norm_backward;
pub(crate) use linear::{
    column_sums, linear_forward, linear_input_gradient, linear_weight_gradient,
};
pub(crate) use products::Products;
pub(crate) use vertical_attention::{
    VerticalShape, vertical_attention_backward, vertical_attention_kv,
};
