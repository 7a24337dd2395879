//! What decided the results of a run, as names and values that can be kept with them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use datafusion::error::{DataFusionError, Result};

use crate::options::ReadOptions;
use crate::recognizers::weights;

/// Options whose value is a file.
const FILES: [&str; 4] = ["charset", "lm", "lexicon", "hot_words"];

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
    for (name, _) in ReadOptions::keys() {
        let value = match options.get(name) {
            Some(value) if FILES.contains(&name) && !(name == "charset" && value == "english") => {
                let context = || format!("svtrv2.{name}: {value}");
                let hash = content_hash(Path::new(value))
                    .map_err(|error| DataFusionError::from(error).context(context()))?;
                format!("{value}, content {hash:016x}")
            }
            Some(value) => value.to_owned(),
            None => continue,
        };
        found.insert(format!("svtrv2.{name}"), value);
    }
    let fingerprint = weights(options)?.fingerprint();
    let fingerprint = fingerprint.map_err(crate::recognizers::failed("weights"))?;
    found.insert("svtrv2.weights".to_owned(), format!("{fingerprint:016x}"));
    Ok(found)
}

/// FNV-1a, 64 bits, of a regular file.
fn content_hash(path: &Path) -> io::Result<u64> {
    // A pipe may block, and a device may be endless.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut file = File::open(path)?;
    let mut buffer = [0; 1 << 16];
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(hash);
        }
        for &byte in &buffer[..count] {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
