//! Which parameters a network has.

use std::cell::RefCell;

use super::{Config, Detector, DetectorConfig, Network};
use crate::error::Result;
use crate::ops::{
    BatchNormParameters, ConvParameters, Init, LayerNormParameters, Layers, LinearParameters,
    ParameterSource, Scope, SqueezeExciteParameters, VerticalAttentionParameters,
};

/// The name and shape of every parameter of a network, in the order in which it is built.
///
/// The names are the published checkpoints', with batch norms folded in.
///
/// ```
/// use svtrv2::model::{Config, parameter_shapes};
///
/// let shapes = parameter_shapes(&Config::tiny())?;
/// let count: usize = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
/// assert_eq!(count, 5_128_159); // 5 128 255 with the batch norms unfolded
/// # Ok::<(), svtrv2::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`](crate::Error::Config) if the configuration is out of range.
pub fn parameter_shapes(config: &Config) -> Result<Vec<(String, Vec<usize>)>> {
    // The network's own constructor is asked: there is no second list of names to keep in step.
    let recorder = Recorder::default();
    Network::<Nothing>::new(config, &Scope::new(&recorder))?;
    Ok(recorder.0.into_inner())
}

/// As [`parameter_shapes`], of a network that finds text.
pub(crate) fn detector_parameter_shapes(
    config: &DetectorConfig,
) -> Result<Vec<(String, Vec<usize>)>> {
    let recorder = Recorder::default();
    Detector::<Nothing>::new(config, &Scope::new(&recorder))?;
    Ok(recorder.0.into_inner())
}

/// Records what is asked for, and hands out nothing.
#[derive(Default)]
struct Recorder(RefCell<Vec<(String, Vec<usize>)>>);

impl ParameterSource<()> for Recorder {
    fn get(&self, name: &str, shape: &[usize], _: Init) -> Result<()> {
        self.0.borrow_mut().push((name.to_owned(), shape.to_vec()));
        Ok(())
    }
}

/// Layers without parameters.
enum Nothing {}

impl Layers for Nothing {
    type Parameter = ();
    type Linear = ();
    type Conv = ();
    type LayerNorm = ();
    type BatchNorm = ();
    type SqueezeExcite = ();
    type VerticalAttention = ();

    fn linear(_: LinearParameters<()>) -> Result<()> {
        Ok(())
    }

    fn conv(_: ConvParameters<()>) -> Result<()> {
        Ok(())
    }

    fn layer_norm(_: LayerNormParameters<()>) -> Result<()> {
        Ok(())
    }

    fn batch_norm(_: BatchNormParameters<()>) -> Result<()> {
        Ok(())
    }

    fn squeeze_excite(_: SqueezeExciteParameters<()>) -> Result<()> {
        Ok(())
    }

    fn vertical_attention(_: VerticalAttentionParameters<()>) -> Result<()> {
        Ok(())
    }
}
