//! Parameters for candle programs.

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;

use super::Weights;

impl Weights {
    /// The parameters as candle programs take them, by their names ([`Weights::names`]); each is read from the
    /// file when it is asked for. What is stored in integers comes as the numbers that they stand for.
    ///
    /// ```no_run
    /// use svtrv2::candle_core::{DType, Device};
    /// use svtrv2::weights::Weights;
    ///
    /// let weights = Weights::open("svtrv2_b.safetensors")?;
    /// let tensors = weights.var_builder(DType::F32, &Device::Cpu);
    /// let classifier = candle_nn::linear(384, weights.config().num_classes, tensors.pp("decoder.fc"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The builder gives [`candle_core::Error`] for a name that is not there, for another shape than the tensor's,
    /// and, as a wrapped [`Error`](crate::Error), for what [`Weights::tensor`] refuses.
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }
}

impl SimpleBackend for Weights {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if tensor.shape() != &shape {
            let got = tensor.shape().clone();
            let msg = format!("shape mismatch for {name}");
            return Err(candle_core::Error::UnexpectedShape { msg, expected: shape, got }.bt());
        }
        Ok(tensor)
    }

    fn get_unchecked(
        &self,
        name: &str,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        match self.tensor(name).map_err(candle_core::Error::wrap)? {
            Some((values, shape)) => Tensor::from_vec(values, shape, device)?.to_dtype(dtype),
            None => Err(candle_core::Error::CannotFindTensor { path: name.to_owned() }.bt()),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }
}
