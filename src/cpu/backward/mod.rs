//! Gradients of the operations: what training needs beside the forward kernels.

mod activation;
mod attention;
mod batch_norm;
mod conv;
mod depthwise;
mod layer_norm;
mod linear;
mod pool;
mod products;
mod squeeze_excite;
mod transposed_product;
mod vertical_attention;

pub(crate) use activation::{activate, activate_backward};
pub(crate) use attention::attention_backward;
pub(crate) use batch_norm::{ChannelStatistics, batch_norm, batch_norm_backward};
pub(crate) use conv::{ConvDims, conv_forward, conv_input_gradient, conv_weight_gradient};
pub(crate) use depthwise::{DepthwiseDims, depthwise_input_gradient, depthwise_weight_gradient};
pub(crate) use layer_norm::layer_norm_backward;
pub(crate) use linear::{
    column_sums, linear_forward, linear_input_gradient, linear_weight_gradient,
};
pub(crate) use pool::{average_pool_backward, max_pool_backward};
pub(crate) use products::Products;
pub(crate) use squeeze_excite::{
    SqueezeExciteWeights, squeeze_excite_backward, squeeze_excite_forward,
};
pub(crate) use vertical_attention::{
    VerticalShape, vertical_attention_backward, vertical_attention_kv,
};
