//! A number that tells weights apart.

use super::Weights;
use super::tensor::StoredTensor;
use crate::error::{Result, WeightsError};
use crate::inference::Precision;
use crate::ops::quantized::ActivationBits;

impl Weights {
    /// A number that is the same for equal weights, and another one for others, but for chance (1 in 2^64): of the
    /// configuration, charset, temperature and precision, and of all parameters as they are stored, whatever the
    /// format. It reads all parameters. Nothing in it withstands those who want two weights to have the same.
    ///
    /// # Errors
    /// As [`Weights::tensor`] and [`Weights::quantized_tensor`].
    pub fn fingerprint(&self) -> Result<u64> {
        let mut hash = Hash::default();
        let config = serde_json::to_string(self.config()).map_err(|error| {
            WeightsError::Metadata { key: super::METADATA_KEY, detail: error.to_string() }
        })?;
        hash.text(&config);
        for symbol in self.charset().into_iter().flat_map(|charset| charset.symbols()) {
            hash.text(symbol);
        }
        hash.word(self.temperature().to_bits().into());
        hash.word(u64::from(self.precision() == Precision::Int8));
        for (name, tensor) in &self.tensors {
            hash.text(name);
            hash.tensor(name, tensor)?;
        }
        Ok(hash.finish())
    }
}

/// FNV-1a over words instead of bytes, with a final mixing.
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn word(&mut self, word: u64) {
        // The rotation lets high bits act on low ones.
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }

    fn text(&mut self, text: &str) {
        self.word(text.len() as u64);
        text.bytes().for_each(|byte| self.word(byte.into()));
    }

    fn floats(&mut self, values: &[f32]) {
        self.word(values.len() as u64);
        values.iter().for_each(|value| self.word(value.to_bits().into()));
    }

    fn tensor(&mut self, name: &str, tensor: &StoredTensor) -> Result<()> {
        for &size in tensor.shape() {
            self.word(size as u64);
        }
        let Some(quantized) = tensor.quantized_values(name)? else {
            self.word(u64::from(tensor.is_kept_f32()));
            self.floats(&tensor.values(name)?);
            return Ok(());
        };
        quantized.levels.iter().for_each(|&level| self.word(u64::from(level.cast_unsigned())));
        self.floats(&quantized.scales);
        self.floats(quantized.smoothing_scales.as_deref().unwrap_or_default());
        self.word(u64::from(quantized.activation_bits == ActivationBits::Twelve));
        Ok(())
    }

    fn finish(self) -> u64 {
        let mut hash = self.0;
        for factor in [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53] {
            hash = (hash ^ hash >> 33).wrapping_mul(factor);
        }
        hash ^ hash >> 33
    }
}
