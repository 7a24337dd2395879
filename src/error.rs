//! What can go wrong, sorted by whose fault it is.
//!
//! [`Error`] has one variant a culprit: the image, the weights, the charset, the configuration,
//! the scores handed to a decoder, or the device that computes. Each carries the offending values.

use std::path::PathBuf;

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure of this crate, one variant a culprit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The image could not be read or has no pixels.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A region of a page cannot be cropped.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The weights file is damaged, of another kind, or does not fit the network.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The charset is not usable or does not fit the weights.
    #[error(transparent)]
    Charset(#[from] CharsetError),
    /// The network's configuration or an option is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The scores handed to a decoder are not a `[time, class]` distribution.
    #[error(transparent)]
    Emissions(#[from] EmissionsError),
    /// A language model could not be read or estimated.
    #[error(transparent)]
    LanguageModel(#[from] LanguageModelError),
    /// The network cannot compute with what it was given, or the device failed.
    #[error(transparent)]
    Compute(#[from] ComputeError),
}

#[cfg(feature = "candle")]
impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        ComputeError::Device(Box::new(error)).into()
    }
}

/// Why the network cannot compute.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComputeError {
    /// Images whose shape or number of values does not fit.
    #[error("images are [batch, 3, height, width] without a 0, not {shape:?} with {values} values")]
    Images {
        /// The shape.
        shape: Vec<usize>,
        /// Values that were given.
        values: usize,
    },
    /// An operand of an operation whose shape does not fit.
    #[error("an operand of {operation} is {found:?}, not {expected:?}")]
    Operand {
        /// The operation.
        operation: &'static str,
        /// The operand's rows and channels.
        found: [usize; 2],
        /// Rows and channels that fit.
        expected: [usize; 2],
    },
    /// A parameter that the source of a network's parameters lacks.
    #[error("there is no parameter {0}")]
    MissingParameter(String),
    /// A parameter of another shape than the network asks for.
    #[error("a parameter does not fit the network: {0}")]
    ParameterShape(ShapeMismatch),
    /// Something that this execution of the network cannot compute.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// A part of a batch gave no result, because another one failed.
    #[error("the pass through the network failed: {0}")]
    Pass(String),
    /// The device failed, or the library that drives it.
    #[error("computation failed: {0}")]
    Device(Box<dyn std::error::Error + Send + Sync>),
}

impl ComputeError {
    pub(crate) fn operand(
        operation: &'static str,
        found: [usize; 2],
        expected: [usize; 2],
    ) -> Error {
        ComputeError::Operand { operation, found, expected }.into()
    }
}

/// Why an image cannot be recognised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// An image without pixels.
    #[error("the image has no pixels ({width}x{height})")]
    Empty {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The file could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The bytes are not an image of a known format, or are truncated or damaged.
    #[error("cannot decode the image: {0}")]
    Decode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The path names a folder, a pipe or a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file says that the image has more pixels than
    /// [`DecodeOptions::max_pixels`](crate::DecodeOptions::max_pixels).
    #[error("the image has {width}x{height} pixels, more than {most}")]
    TooLarge {
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// The most pixels.
        most: u64,
    },
    /// Raw pixels whose length does not fit width, height and stride.
    #[error(
        "raw pixels: {width}x{height} with {row_bytes} bytes a row at a stride of {stride} bytes \
         need {needed} bytes, {found} given"
    )]
    RawSize {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes of pixels in a row.
        row_bytes: usize,
        /// Distance from row to row in bytes.
        stride: usize,
        /// Bytes that the geometry asks for (`usize::MAX` where that overflows).
        needed: usize,
        /// Bytes that were given.
        found: usize,
    },
}

/// Why a region of a page cannot be cropped.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum RegionError {
    /// A coordinate is NaN or infinite.
    #[error("point {index} of the region is not finite")]
    NotFinite {
        /// The point, from 0.
        index: usize,
    },
    /// A polygon of too few or too many points, or of an odd number.
    #[error("a region has an even number of 4 to {most} points, not {found}")]
    PointCount {
        /// Points given.
        found: usize,
        /// The most points.
        most: usize,
    },
    /// The region covers less than a square pixel, or its points lie on one line.
    #[error("the region covers {area:.3} square pixels, less than one")]
    TooSmall {
        /// Its area in square pixels.
        area: f64,
    },
    /// The points run counter-clockwise, which would mirror the text.
    #[error(
        "the region's points must run clockwise from the text's top left (of a rectangle, x0 < x1 \
         and y0 < y1)"
    )]
    Order,
    /// Two edges cross.
    #[error("edges {first} and {second} of the region cross")]
    SelfCrossing {
        /// The first point of the one edge, from 0.
        first: usize,
        /// The first point of the other edge, from 0.
        second: usize,
    },
    /// A quadrilateral with a corner that turns inwards, or hardly turns.
    #[error("the quadrilateral is not convex at corner {corner}")]
    NotConvex {
        /// The corner, from 0.
        corner: usize,
    },
    /// Too much of the region lies beyond the page.
    #[error("{inside:.2} of the region lies inside the page, less than {least:.2}")]
    Outside {
        /// The share inside the page, 0..=1.
        inside: f32,
        /// The least share.
        least: f32,
    },
}

/// Why a weights file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file could not be opened, read or written.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A reader failed.
    #[error("cannot read the weights: {0}")]
    Read(std::io::Error),
    /// The file is empty.
    #[error("the weights file is empty")]
    Empty,
    /// A Git-LFS pointer: the few lines of text that stand in for a file that was never pulled.
    #[error("this is a Git-LFS pointer, not the weights themselves: run `git lfs pull`")]
    GitLfsPointer,
    /// A web page saved under a weights file's name.
    #[error("this is a web page (HTML), not weights: the download went wrong")]
    Html,
    /// A `.pth` in the tar format of PyTorch before 0.1.10.
    #[error(
        "this is a .pth in PyTorch's legacy tar format: load it in Python and save it again \
         with torch.save"
    )]
    LegacyTar,
    /// A `.pth` in the bare pickle format of PyTorch before 1.6.
    #[error(
        "this is a .pth in PyTorch's legacy pickle format (before 1.6): load it in Python and \
         save it again with torch.save"
    )]
    LegacyPickle,
    /// None of the known formats.
    #[error(
        "not a weights file: expected safetensors, a PyTorch .pth or an ONNX export; the first \
         bytes are {first_bytes:02x?}"
    )]
    UnknownFormat {
        /// The first bytes of the file, eight at most.
        first_bytes: Vec<u8>,
    },
    /// A format that this build leaves out.
    #[error("{format} weights need the crate feature `{feature}`")]
    FeatureDisabled {
        /// The format's name.
        format: &'static str,
        /// The feature that adds it.
        feature: &'static str,
    },
    /// The file breaks off or its structure is damaged.
    #[error("damaged or truncated {format} file: {detail}")]
    Malformed {
        /// The format's name.
        format: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// Readable, but no SVTRv2: the tensors belong to another network.
    #[error("these are not the weights of an SVTRv2: {0}")]
    NotSvtrv2(String),
    /// Tensors are missing, have another shape, or belong nowhere.
    #[error(
        "the tensors do not fit the network:{}",
        describe_misfit(missing, misshapen, unexpected)
    )]
    Misfit {
        /// Tensors that the network needs and the file lacks.
        missing: Vec<String>,
        /// Tensors of another shape than the network's.
        misshapen: Vec<ShapeMismatch>,
        /// Tensors that the network has no place for.
        unexpected: Vec<String>,
    },
    /// Two tensors of the file mean the same parameter.
    #[error("the file holds the tensor {0} twice")]
    Duplicate(String),
    /// An element type that weights are not stored in.
    #[error("tensor {name} has the element type {dtype}, expected f32, f16, bf16 or f64")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its element type.
        dtype: String,
    },
    /// NaN or infinity among the weights.
    #[error("tensor {name} holds {value} at element {index}")]
    NonFinite {
        /// The tensor.
        name: String,
        /// Index of the first such element, in row-major order.
        index: usize,
        /// NaN, inf or -inf.
        value: f32,
    },
    /// A weight that the file's element type cannot hold.
    #[error("tensor {name} holds {value} at element {index}, beyond the range of {dtype}")]
    OutOfRange {
        /// The tensor.
        name: String,
        /// Index of the first such element, in row-major order.
        index: usize,
        /// The value.
        value: f32,
        /// The element type asked for.
        dtype: &'static str,
    },
    /// The metadata of the crate's own format is damaged.
    #[error("the metadata entry {key} is damaged: {detail}")]
    Metadata {
        /// The metadata key.
        key: &'static str,
        /// What is wrong.
        detail: String,
    },
}

/// A tensor whose shape is not the network's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {found:?} instead of {expected:?}")]
pub struct ShapeMismatch {
    /// The tensor.
    pub name: String,
    /// The shape that the network asks for.
    pub expected: Vec<usize>,
    /// The shape in the file.
    pub found: Vec<usize>,
}

/// Names at most this many tensors of a kind: a whole foreign network would fill the screen.
const NAMED_TENSORS: usize = 8;

fn describe_misfit(
    missing: &[String],
    misshapen: &[ShapeMismatch],
    unexpected: &[String],
) -> String {
    fn list(out: &mut String, title: &str, items: impl ExactSizeIterator<Item = String>) {
        let count = items.len();
        if count == 0 {
            return;
        }
        let shown: Vec<String> = items.take(NAMED_TENSORS).collect();
        let rest = count - shown.len();
        out.push_str(&format!(" {title} {}", shown.join(", ")));
        if rest > 0 {
            out.push_str(&format!(" and {rest} more"));
        }
        out.push(';');
    }
    let mut out = String::new();
    list(&mut out, "missing", missing.iter().cloned());
    list(
        &mut out,
        "of another shape",
        misshapen.iter().map(|m| format!("{} ({:?} instead of {:?})", m.name, m.found, m.expected)),
    );
    list(&mut out, "unknown", unexpected.iter().cloned());
    out.pop();
    out
}

/// Why a charset cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CharsetError {
    /// No symbols at all.
    #[error("the charset is empty")]
    Empty,
    /// An entry without characters.
    #[error("entry {index} of the charset is empty")]
    EmptyEntry {
        /// Index of the entry, from 0 (its class is one higher).
        index: usize,
    },
    /// A symbol that is not in the charset.
    #[error("the charset holds no {symbol:?}")]
    UnknownSymbol {
        /// The symbol.
        symbol: String,
    },
    /// An entry that stands in the charset twice.
    #[error("entry {second} of the charset, {symbol:?}, repeats entry {first}")]
    Duplicate {
        /// The symbol.
        symbol: String,
        /// Where it first stands, from 0.
        first: usize,
        /// Where it stands again, from 0.
        second: usize,
    },
    /// More symbols than a charset can have.
    #[error("the charset has more than {most} symbols")]
    TooMany {
        /// The most symbols.
        most: usize,
    },
    /// An entry that is too long for a symbol.
    #[error("entry {index} of the charset has {bytes} bytes, more than {most}")]
    TooLong {
        /// Index of the entry, from 0.
        index: usize,
        /// Its length.
        bytes: usize,
        /// The longest symbol in bytes.
        most: usize,
    },
    /// The dictionary is not UTF-8.
    #[error("the dictionary is not UTF-8: invalid bytes at offset {offset}")]
    NotUtf8 {
        /// Offset of the first invalid byte.
        offset: usize,
    },
    /// The dictionary file could not be read.
    #[error("cannot read {}: {message}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        message: String,
    },
    /// The weights carry no charset and none was given.
    #[error(
        "the weights carry no charset: give one of {} symbols (the network has {classes} classes, \
         one of them the blank)",
        classes.saturating_sub(1)
    )]
    Missing {
        /// Classes of the network, the blank included.
        classes: usize,
    },
    /// The charset's size is not the network's.
    #[error(
        "a charset of {symbols} symbols makes {} classes with the blank, the network has {classes}",
        symbols + 1
    )]
    ClassCount {
        /// Symbols in the charset.
        symbols: usize,
        /// Classes of the network, the blank included.
        classes: usize,
    },
    /// What guides a decoder was made for another charset.
    #[error(
        "the {guide} was made for the charset with the fingerprint {guide_charset:016x}, but the \
         texts are in the charset with the fingerprint {charset:016x}"
    )]
    Guide {
        /// What it is: a lexicon, hot words, a language model, a class mask.
        guide: &'static str,
        /// The fingerprint of the guide's charset.
        guide_charset: u64,
        /// The fingerprint of the charset in force.
        charset: u64,
    },
    /// A charset was given that contradicts the one stored with the weights.
    #[error(
        "the charset given differs from the one stored with the weights, first at entry {index}: \
         {given:?} instead of {stored:?}"
    )]
    Contradiction {
        /// First differing entry, from 0.
        index: usize,
        /// The symbol given.
        given: String,
        /// The symbol stored with the weights.
        stored: String,
    },
}

/// Why a configuration or an option cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field}: {detail}")]
pub struct ConfigError {
    /// The field at fault.
    pub field: &'static str,
    /// Its value and what is permitted.
    pub detail: String,
}

impl ConfigError {
    pub(crate) fn new(field: &'static str, detail: impl Into<String>) -> Self {
        ConfigError { field, detail: detail.into() }
    }

    /// The largest weight, bonus or penalty of a decoder, in nats: beyond it sums lose what tells
    /// texts apart.
    pub(crate) const LARGEST_WEIGHT: f64 = 1e6;

    /// Checks that a weight, a bonus or a penalty is a number from `least` to
    /// [`LARGEST_WEIGHT`](Self::LARGEST_WEIGHT).
    pub(crate) fn check_weight(
        field: &'static str,
        value: f64,
        least: f64,
    ) -> Result<(), ConfigError> {
        if (least..=Self::LARGEST_WEIGHT).contains(&value) {
            return Ok(());
        }
        let detail = format!("{value} is not in {least}..={}", Self::LARGEST_WEIGHT);
        Err(ConfigError::new(field, detail))
    }

    /// Checks that a value is a finite number above 0.
    pub(crate) fn check_positive(field: &'static str, value: f32) -> Result<(), ConfigError> {
        if value.is_finite() && value > 0.0 {
            return Ok(());
        }
        Err(ConfigError::new(field, format!("{value} is not above 0")))
    }
}

/// Why scores cannot be decoded.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum EmissionsError {
    /// The number of numbers is not `frames * classes`.
    #[error("{found} numbers cannot be {frames} frames of {classes} classes")]
    Size {
        /// Frames.
        frames: usize,
        /// Classes, the blank included.
        classes: usize,
        /// Emissions given.
        found: usize,
    },
    /// More frames than can be decoded.
    #[error("{frames} frames, more than {most}")]
    Frames {
        /// Frames given.
        frames: usize,
        /// The most frames.
        most: usize,
    },
    /// No classes, or only the blank.
    #[error("{classes} classes: at least the blank and one symbol are needed")]
    Classes {
        /// Classes given.
        classes: usize,
    },
    /// A score that its kind does not permit: NaN anywhere, `+inf`, a probability outside 0..=1.
    #[error("the {kind} at frame {frame}, class {class} is {value}")]
    Value {
        /// What the numbers were said to be.
        kind: &'static str,
        /// The frame.
        frame: usize,
        /// The class.
        class: usize,
        /// The score.
        value: f32,
    },
    /// Texts that are all right or all wrong: no temperature fits them.
    #[error("a temperature needs right and wrong texts, not {right} right and {wrong} wrong ones")]
    NothingToFit {
        /// Texts that were right.
        right: usize,
        /// Texts that were wrong.
        wrong: usize,
    },
    /// Probabilities of a frame that do not sum to 1.
    #[error("the probabilities at frame {frame} sum to {sum} instead of 1")]
    Sum {
        /// The frame.
        frame: usize,
        /// The sum.
        sum: f32,
    },
}

/// Why there is no language model.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum LanguageModelError {
    /// The file could not be opened, read or written.
    #[error("{}: {message}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The file is not UTF-8.
    #[error("the language model is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// The first byte that is not.
        offset: usize,
    },
    /// The text is not an ARPA model.
    #[error("line {line} of the ARPA model: {detail}")]
    Arpa {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        detail: String,
    },
    /// An order beyond what is supported.
    #[error("a language model has the order 1 to {most}, not {order}")]
    Order {
        /// The order.
        order: usize,
        /// The highest order.
        most: usize,
    },
    /// The bytes are not a compact model, or are damaged.
    #[error("not a compact language model, or a damaged one: {detail}")]
    Compact {
        /// What is wrong.
        detail: String,
    },
    /// A language model gave something that is no log-probability.
    #[error("the language model gave the log-probability {log_prob}, which is not at most 0")]
    Score {
        /// What it gave.
        log_prob: f64,
    },
    /// Nothing to estimate a model from.
    #[error("there are no words to estimate a language model from")]
    NoWords,
}

/// The start of a text that comes from a file: a message never is as long as the file.
pub(crate) fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
