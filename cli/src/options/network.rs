//! The charset argument, and the arguments that set up a recogniser.

#[cfg(feature = "data")]
pub use setup::NetworkArguments;
use svtrv2::Charset;

/// `english`, or a dictionary file.
pub fn open_charset(name: &str, append_space: bool) -> svtrv2::Result<Charset> {
    match name {
        "english" => Ok(Charset::english()),
        path => Charset::open(path, append_space),
    }
}

#[cfg(feature = "data")]
mod setup {
    use std::path::PathBuf;

    use clap::{Args, ValueEnum};
    use svtrv2::inference::Precision;
    use svtrv2::weights::Weights;
    use svtrv2::{Lines, Options, Orientation, Recognizer};

    use super::open_charset;
    use crate::failure::Result;
    #[cfg(feature = "embedded")]
    use crate::failure::warn;

    #[derive(Args, Clone, PartialEq)]
    #[command(next_help_heading = "Network")]
    pub struct NetworkArguments {
        /// The weights: safetensors, an OpenOCR checkpoint (.pth), or an ONNX export [default: the
        /// embedded English model; weights/svtrv2_b.safetensors in a build without it]
        #[arg(long, value_name = "FILE")]
        pub weights: Option<PathBuf>,
        /// The model for lines in all Latin scripts
        #[cfg(feature = "latin")]
        #[arg(long, conflicts_with = "weights")]
        pub latin: bool,
        /// The charset, for weights that carry none: `english`, or a dictionary file with one entry
        /// a line
        #[arg(long, value_name = "CHARSET")]
        pub charset: Option<String>,
        /// Append a space to the dictionary
        #[arg(long, requires = "charset")]
        pub space: bool,
        /// The largest aspect ratio that keeps its width; wider crops are squeezed [default: the
        /// weights']
        #[arg(long, value_name = "RATIO")]
        pub max_ratio: Option<u32>,
        /// What to do with crops wider than the largest aspect ratio [default: auto]
        #[arg(long, value_enum, value_name = "MODE")]
        pub lines: Option<LinesArgument>,
        /// Keep blank ends of lines that are wider than the crop is high
        #[arg(long)]
        pub keep_margins: bool,
        /// What to do with crops whose text may not be upright [default: as-is]
        #[arg(long, value_enum, value_name = "MODE")]
        pub orientation: Option<OrientationArgument>,
        /// The network's number type [default: the weights', which is f32 unless they were converted
        /// with --int8]
        #[arg(long, value_enum)]
        pub precision: Option<PrecisionArgument>,
        /// The temperature of confidences [default: the weights']
        #[arg(long, value_name = "NUMBER")]
        pub temperature: Option<f32>,
    }

    #[derive(Clone, Copy, PartialEq, ValueEnum)]
    pub enum OrientationArgument {
        /// Recognise every crop as it is
        AsIs,
        /// Turn tall crops by 90 degrees counter-clockwise
        RotateTall,
        /// Recognise tall crops as they are and turned either way, and keep the best score
        BestOfTall,
        /// Find out how the text stands: upright, upside down, or turned either way
        Any,
    }

    #[derive(Clone, Copy, PartialEq, ValueEnum)]
    pub enum LinesArgument {
        /// Recognise lines in overlapping windows beyond twice the largest aspect ratio
        Auto,
        /// Squeeze every wide crop, as the reference implementation does
        Squeeze,
    }

    #[derive(Clone, Copy, PartialEq, ValueEnum)]
    pub enum PrecisionArgument {
        F32,
        /// Products in integers of 8 bits: faster, with small errors
        Int8,
    }

    #[cfg(feature = "embedded")]
    fn default_weights() -> Result<Weights> {
        warn("no --weights: the embedded English model");
        Ok(Weights::embedded()?)
    }

    #[cfg(not(feature = "embedded"))]
    fn default_weights() -> Result<Weights> {
        Ok(Weights::open("weights/svtrv2_b.safetensors")?)
    }

    impl NetworkArguments {
        /// A recogniser with greedy decoding, and the weights that it is made of.
        pub fn open(&self) -> Result<(Weights, Recognizer)> {
            let weights = match self.weights.as_deref() {
                Some(path) => Weights::open(path)?,
                #[cfg(feature = "latin")]
                None if self.latin => Weights::latin()?,
                None => default_weights()?,
            };
            let charset = match self.charset.as_deref() {
                None => None,
                Some(name) => Some(open_charset(name, self.space)?),
            };
            let orientation = match self.orientation {
                None | Some(OrientationArgument::AsIs) => Orientation::AsIs,
                Some(OrientationArgument::RotateTall) => Orientation::RotateTall,
                Some(OrientationArgument::BestOfTall) => Orientation::BestOfTall,
                Some(OrientationArgument::Any) => Orientation::Any,
            };
            let lines = match self.lines {
                None | Some(LinesArgument::Auto) => Lines::Auto,
                Some(LinesArgument::Squeeze) => Lines::Squeeze,
            };
            let precision = self.precision.map(|precision| match precision {
                PrecisionArgument::F32 => Precision::F32,
                PrecisionArgument::Int8 => Precision::Int8,
            });
            let &Self { max_ratio, temperature, .. } = self;
            let options = Options {
                charset,
                max_ratio,
                lines,
                trim_margins: !self.keep_margins,
                orientation,
                temperature,
                precision,
                ..Options::default()
            };
            let recognizer = Recognizer::new(&weights, options)?;
            Ok((weights, recognizer))
        }
    }
}
