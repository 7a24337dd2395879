//! The bytes that tensors lie in.

use std::fmt;

/// A file's bytes, mapped or owned.
pub(super) struct Buffer(Box<dyn AsRef<[u8]> + Send + Sync>);

impl Buffer {
    pub(super) fn new(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Buffer(Box::new(bytes))
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.as_slice().len())
    }
}
