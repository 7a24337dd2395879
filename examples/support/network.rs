//! Arguments that say how crops become scores.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use svtrv2::weights::Weights;
use svtrv2::{Charset, Options, Orientation, Recognizer};

#[derive(Args, Clone, PartialEq)]
#[command(next_help_heading = "Network")]
pub struct NetworkArguments {
    /// The weights file: this crate's safetensors, an OpenOCR checkpoint, or (with the feature
    /// `onnx`) an ONNX export.
    #[arg(long, default_value = "weights/svtrv2_b.safetensors")]
    pub weights: PathBuf,
    /// The charset, for weights files that carry none: `english`, or a dictionary file with one
    /// entry a line.
    #[arg(long)]
    pub charset: Option<String>,
    /// Appends a space to the dictionary.
    #[arg(long, requires = "charset")]
    pub space: bool,
    /// The widest aspect ratio that keeps its width. Without it: the weights'.
    #[arg(long)]
    pub max_ratio: Option<u32>,
    /// What to do with crops taller than 1.5 times their width.
    #[arg(long, value_enum, default_value = "as-is")]
    pub orientation: OrientationArgument,
    /// The temperature of confidences. Without it: the weights'.
    #[arg(long)]
    pub temperature: Option<f32>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum OrientationArgument {
    /// Read every crop as it is.
    AsIs,
    /// Turn tall crops by 90 degrees against the clock.
    RotateTall,
    /// Try the rotations of tall crops and keep the best score.
    BestOfTall,
}

impl NetworkArguments {
    /// A recogniser with greedy decoding, and the weights that it is made of.
    pub fn open(&self) -> Result<(Weights, Recognizer), Box<dyn Error>> {
        let weights = Weights::open(&self.weights)?;
        let charset = match self.charset.as_deref() {
            None => None,
            Some("english") => Some(Charset::english()),
            Some(path) => Some(Charset::open(path, self.space)?),
        };
        let orientation = match self.orientation {
            OrientationArgument::AsIs => Orientation::AsIs,
            OrientationArgument::RotateTall => Orientation::RotateTall,
            OrientationArgument::BestOfTall => Orientation::BestOfTall,
        };
        let &Self { max_ratio, temperature, .. } = self;
        let options =
            Options { charset, max_ratio, orientation, temperature, ..Options::default() };
        let recognizer = Recognizer::new(&weights, options)?;
        Ok((weights, recognizer))
    }
}
