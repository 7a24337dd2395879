//! Groups of arguments that commands share.

#[cfg(feature = "data")]
pub mod decoder;
pub mod network;
