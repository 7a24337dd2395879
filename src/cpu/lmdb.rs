//! LMDB environments, which are memory-mapped files.

use std::path::Path;

use heed::{Env, EnvFlags, EnvOpenOptions};

/// Opens an LMDB folder for reading. Nothing is written, not even a lock file: nobody may write to
/// it meanwhile.
pub(crate) fn open_lmdb(folder: &Path) -> heed::Result<Env> {
    let mut options = EnvOpenOptions::new();
    // SAFETY: the map is read-only, and values are copied out of it within a transaction. That nobody
    // changes or shortens the file while it is open cannot be seen from here: `Dataset::open` states
    // it as the caller's duty.
    unsafe { options.flags(EnvFlags::READ_ONLY | EnvFlags::NO_LOCK).open(folder) }
}

/// Makes an LMDB in a folder that has none.
pub(crate) fn create_lmdb(folder: &Path) -> heed::Result<Env> {
    let mut options = EnvOpenOptions::new();
    // Address space, not memory: the file grows with what it holds.
    let most = if cfg!(target_pointer_width = "64") { 1 << 40 } else { 1 << 30 };
    // SAFETY: the caller has just seen that there is no such file, so that nobody else has it open
    // and no lock is needed; nothing keeps references into the map beyond a transaction.
    unsafe { options.map_size(most).flags(EnvFlags::NO_LOCK).open(folder) }
}
