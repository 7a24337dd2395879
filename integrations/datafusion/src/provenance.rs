//! What decided the results of a run, as names and values that can be kept with them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use datafusion::error::{DataFusionError, Result};

use crate::options::ReadOptions;
use crate::recognizers::{failed, weights};

/// What decides the results of recognition under these options: `svtrv2.weights` is the fingerprint of the
/// weights, whatever their file; every other option that is set has its value, and behind a file's name stands
/// a hash of its content. Equal maps give equal results, by the same version of the crate.
///
/// # Errors
/// A file that the options name cannot be read, or is damaged.
///
/// ```
/// # #[cfg(feature = "embedded")] {
/// use datafusion::config::ExtensionOptions;
/// use svtrv2_datafusion::{ReadOptions, provenance};
///
/// let mut options = ReadOptions::default();
/// options.set("allow", "0123456789")?;
/// let found = provenance(&options)?;
/// assert_eq!(found["svtrv2.allow"], "0123456789");
/// assert_eq!(found["svtrv2.weights"].len(), 16);
/// # }
/// # Ok::<(), datafusion::error::DataFusionError>(())
/// ```
pub fn provenance(options: &ReadOptions) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for (name, value, is_file) in options.set_ones().filter(|(name, ..)| *name != "weights") {
        let mut value = value.to_owned();
        if is_file {
            let hash = content_hash(Path::new(&value)).map_err(|error| {
                DataFusionError::from(error).context(format!("svtrv2.{name}: {value}"))
            })?;
            value += &format!(", content {hash}");
        }
        found.insert(format!("svtrv2.{name}"), value);
    }
    let fingerprint = weights(options)?.fingerprint().map_err(failed("weights"))?;
    found.insert("svtrv2.weights".to_owned(), format!("{fingerprint:016x}"));
    Ok(found)
}

/// The hash of a regular file.
fn content_hash(path: &Path) -> io::Result<ContentHash> {
    // A pipe may block, and a device may be endless.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut file = File::open(path)?;
    let mut buffer = [0; 1 << 16];
    let mut hash = ContentHash::default();
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash),
            count => hash.add(&buffer[..count]),
        }
    }
}

/// A hash that is the same everywhere and for ever (FNV-1a, 64 bits), written in hexadecimal digits. Nothing in
/// it withstands those who want two contents to have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHash(u64);

impl Default for ContentHash {
    fn default() -> Self {
        ContentHash(0xcbf2_9ce4_8422_2325)
    }
}

impl ContentHash {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

impl std::fmt::Display for ContentHash {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
