//! LMDB environments, which are memory-mapped files.

use std::path::Path;

use heed::{Env, EnvFlags, EnvOpenOptions};

/// Opens an LMDB folder for reading. Nothing is written, not even a lock file: nobody may write to
/// it meanwhile.
pub(crate) fn open_lmdb(folder: &Path) -> heed::Result<Env> {
    let mut options = EnvOpenOptions::new();
    // SAFETY: the map is read-only, and values are copied out of it within a transaction. As with
    // every memory-mapped file, another process that changes the file while it is being read makes
    // the access fail; `Dataset::open` documents that.
    unsafe { options.flags(EnvFlags::READ_ONLY | EnvFlags::NO_LOCK).open(folder) }
}

/// Makes an LMDB in a folder that has none.
pub(crate) fn create_lmdb(folder: &Path) -> heed::Result<Env> {
    let mut options = EnvOpenOptions::new();
    // Address space, not memory: the file grows with what it holds.
    let most = if cfg!(target_pointer_width = "64") { 1 << 40 } else { 1 << 30 };
    // SAFETY: the caller has just seen that there is no such file; nothing but this environment
    // knows it, no lock is needed, and nothing keeps references into the map.
    unsafe { options.map_size(most).flags(EnvFlags::NO_LOCK).open(folder) }
}
