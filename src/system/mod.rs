//! What the operating system is asked for, beside files: the time, and how its allocator behaves.

mod clock;
#[cfg(feature = "train")]
mod memory;

pub(crate) use clock::clock;
#[cfg(feature = "train")]
pub(crate) use memory::keep_freed_memory;
