//! The parts of the example `recognize` that are no use of the crate's recogniser: its arguments, and
//! the image that `--draw` writes.

pub mod arguments;
pub mod drawing;
