//! Errors of weights files.

use std::path::PathBuf;

/// Why a weights file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file could not be opened, read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file was changed or truncated since it was opened: the parameters may be part old, part new.
    #[error("{} was changed or truncated while it was open", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A reader failed.
    #[error("cannot read the weights")]
    Read(#[source] std::io::Error),
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
    #[error("these are not the weights of an SVTRv2: {detail}")]
    NotSvtrv2 {
        /// What the file is instead, or what it lacks.
        detail: String,
    },
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
    #[error("the file holds the tensor {name} twice")]
    Duplicate {
        /// The tensor.
        name: String,
    },
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
