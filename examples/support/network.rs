//! Arguments that say how crops become scores.

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use svtrv2::weights::Weights;
use svtrv2::{Charset, Options, Orientation, Recognizer};

#[derive(Args, Clone, PartialEq)]
#[command(next_help_heading = "Network")]
pub struct NetworkArguments {
    /// The weights file: this crate's safetensors, an OpenOCR checkpoint, or (with the feature
    /// `onnx`) an ONNX export. Without it: weights/svtrv2_b.safetensors.
    #[arg(long)]
    pub weights: Option<PathBuf>,
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
    /// What to do with crops taller than 1.5 times their width. Without it: as-is.
    #[arg(long, value_enum)]
    pub orientation: Option<OrientationArgument>,
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
        let default = Path::new("weights/svtrv2_b.safetensors");
        let weights = Weights::open(self.weights.as_deref().unwrap_or(default))?;
        let charset = match self.charset.as_deref() {
            None => None,
            Some(name) => Some(open_charset(name, self.space)?),
        };
        let orientation = match self.orientation {
            None | Some(OrientationArgument::AsIs) => Orientation::AsIs,
            Some(OrientationArgument::RotateTall) => Orientation::RotateTall,
            Some(OrientationArgument::BestOfTall) => Orientation::BestOfTall,
        };
        let &Self { max_ratio, temperature, .. } = self;
        let options =
            Options { charset, max_ratio, orientation, temperature, ..Options::default() };
        let recognizer = Recognizer::new(&weights, options)?;
        Ok((weights, recognizer))
    }
}

/// `english`, or a dictionary file.
pub fn open_charset(name: &str, append_space: bool) -> svtrv2::Result<Charset> {
    match name {
        "english" => Ok(Charset::english()),
        path => Charset::open(path, append_space),
    }
}
