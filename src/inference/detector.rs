//! A network that finds text, on a CPU.

use std::fmt;
use std::sync::Arc;

use super::Array;
use crate::cpu;
use crate::error::{ComputeError, Result};
use crate::model::{Detector, DetectorConfig, MAP_PATCH};
use crate::ops::native::{Native, Packed, Tokens};
use crate::ops::{Grid, ParameterSource, Scope};

/// A network that gives every pixel's probability to be text, on a CPU in f32. In int8 it takes as long: its layers
/// have few channels.
///
/// Copies share the parameters. Work is spread over the threads of the current rayon pool; the result does not
/// depend on their number.
///
/// ```no_run
/// use svtrv2::weights::DetectorWeights;
///
/// let model = DetectorWeights::open("PP-OCRv6_det_small.onnx")?.model()?;
/// let map = model.probabilities(vec![0.0; 736 * 1120 * 3], 1120, 736)?;
/// assert_eq!(map.shape, [1120, 736]);
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Clone)]
pub struct DetectorModel(Arc<Detector<Packed>>);

impl fmt::Debug for DetectorModel {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("DetectorModel").finish_non_exhaustive()
    }
}

impl DetectorModel {
    pub(crate) fn new(
        config: &DetectorConfig,
        parameters: &dyn ParameterSource<Vec<f32>>,
    ) -> Result<Self> {
        Ok(DetectorModel(Arc::new(Detector::new(config, &Scope::new(parameters))?)))
    }

    /// The probability of every pixel to be text, `[height, width]`, of an image `[height, width, 3]`: blue, green
    /// and red of each pixel, mapped from 0..=255 to -1..=1. Both sides are multiples of
    /// [`DetectorConfig::STEP`].
    ///
    /// # Errors
    /// [`ComputeError::Images`](crate::ComputeError::Images) if the sizes are others.
    pub fn probabilities(&self, pixels: Vec<f32>, height: usize, width: usize) -> Result<Array<2>> {
        let whole = |side: &usize| *side > 0 && side.is_multiple_of(DetectorConfig::STEP);
        let count = height.checked_mul(width).and_then(|count| count.checked_mul(3));
        if ![height, width].iter().all(whole) || count != Some(pixels.len()) {
            let (shape, values) = (vec![height, width, 3], pixels.len());
            return Err(ComputeError::Images { shape, values }.into());
        }
        let tokens = Tokens { values: pixels, channels: 3 };
        let run = || self.0.forward(&Native, tokens, Grid { height, width });
        let logits = cpu::in_pool(run)?;
        Ok(Array { values: map(&logits.values, height, width), shape: [height, width] })
    }
}

/// Values of patches of pixels in rows of pixels, through the sigmoid. A patch is two by two quarters of two by two
/// pixels.
fn map(logits: &[f32], height: usize, width: usize) -> Vec<f32> {
    let mut map = vec![0.0; height * width];
    let patches = logits.chunks_exact(MAP_PATCH * MAP_PATCH);
    for (index, patch) in patches.enumerate() {
        let (row, column) = (index / (width / MAP_PATCH), index % (width / MAP_PATCH));
        for (i, &logit) in patch.iter().enumerate() {
            let (quarter, pixel) = (i / 4, i % 4);
            let y = MAP_PATCH * row + 2 * (quarter / 2) + pixel / 2;
            let x = MAP_PATCH * column + 2 * (quarter % 2) + pixel % 2;
            map[y * width + x] = 1.0 / (1.0 + (-logit).exp());
        }
    }
    map
}

#[cfg(all(test, feature = "candle", feature = "onnx"))]
mod tests {
    use candle_core::{DType, Tensor};

    use super::*;
    use crate::ops::Init;
    use crate::ops::candle::{Candle, Tensors};
    use crate::support::{crafted::onnx, graphs::detector_graph};
    use crate::weights::DetectorWeights;

    struct AsTensors<'a>(&'a DetectorWeights);

    impl ParameterSource<Tensor> for AsTensors<'_> {
        fn get(&self, name: &str, shape: &[usize], init: Init) -> Result<Tensor> {
            let values: Vec<f32> = self.0.get(name, shape, init)?;
            Ok(Tensor::from_vec(values, shape, &candle_core::Device::Cpu)?)
        }
    }

    fn pixels(height: usize, width: usize) -> Vec<f32> {
        (0..height * width * 3).map(|i| ((i * 7919 % 1013) as f32 * 0.731).sin()).collect()
    }

    #[test]
    fn candle_agrees() {
        let weights = DetectorWeights::from_bytes(onnx(&detector_graph(true))).unwrap();
        let (height, width) = (64, 160);
        let found = weights.model().unwrap().probabilities(pixels(height, width), height, width);
        let found = found.unwrap();
        assert_eq!(found.shape, [height, width]);
        let network: Detector<Tensors> =
            Detector::new(weights.config(), &Scope::new(&AsTensors(&weights))).unwrap();
        let device = candle_core::Device::Cpu;
        let images = Tensor::from_vec(pixels(height, width), (height * width, 3), &device).unwrap();
        let logits = network.forward(&Candle::default(), images, Grid { height, width }).unwrap();
        // Tokens of 4 x 4 pixels: rows of pixels by candle's own operations.
        let expected = logits
            .reshape(vec![height / 4, width / 4, 2, 2, 2, 2])
            .and_then(|patches| patches.permute(vec![0, 2, 4, 1, 3, 5]))
            .and_then(|pixels| pixels.contiguous()?.flatten_all()?.to_dtype(DType::F32))
            .unwrap();
        let expected: Vec<f32> = expected.to_vec1().unwrap();
        for (found, logit) in found.values.iter().zip(&expected) {
            let expected = 1.0 / (1.0 + (-logit).exp());
            assert!((found - expected).abs() < 1e-4, "{found} instead of {expected}");
        }
        assert!(found.values.iter().any(|p| *p > 0.6) && found.values.iter().any(|p| *p < 0.4));
    }

    #[test]
    fn files_keep_everything() {
        let weights = DetectorWeights::from_bytes(onnx(&detector_graph(false))).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("detector.safetensors");
        weights.save(&path, crate::weights::StorageType::F32).unwrap();
        let again = DetectorWeights::open(&path).unwrap();
        assert_eq!(again.config(), weights.config());
        let run = |weights: &DetectorWeights| {
            weights.model().unwrap().probabilities(pixels(32, 64), 32, 64).unwrap()
        };
        assert!(run(&again) == run(&weights));
        let error = crate::weights::Weights::open(&path).unwrap_err().to_string();
        assert!(error.contains("DetectorWeights"), "{error}");
        let truncated = std::fs::read(&path).unwrap()[..1000].to_vec();
        DetectorWeights::from_bytes(truncated).unwrap_err();
    }

    #[test]
    fn sizes_that_do_not_fit() {
        let weights = DetectorWeights::from_bytes(onnx(&detector_graph(false))).unwrap();
        let model = weights.model().unwrap();
        for (values, height, width) in
            [(0, 0, 0), (32 * 32, 32, 32), (31 * 32 * 3, 31, 32), (0, usize::MAX, 32)]
        {
            let found = model.probabilities(vec![0.0; values], height, width);
            let is_typed = matches!(found, Err(crate::Error::Compute(ComputeError::Images { .. })));
            assert!(is_typed, "{values} {height} {width}");
        }
    }
}
