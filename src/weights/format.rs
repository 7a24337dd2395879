//! Telling the formats apart by their first bytes.

use crate::error::WeightsError;

/// A weights file's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// This crate's own format, and a format of OpenOCR checkpoints.
    Safetensors,
    /// PyTorch's zip archive.
    Pth,
    /// The ONNX export of SVTRv2, of which only the weights are read.
    Onnx,
}

const ZIP: &[u8] = b"PK\x03\x04";
/// The pickled number that PyTorch's format before 1.6 starts with, behind protocol 2's header.
const LEGACY_PICKLE: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
/// Where a tar archive has its magic number.
const TAR: (usize, &[u8]) = (257, b"ustar");
const GIT_LFS: &[u8] = b"version https://git-lfs.github.com/spec/";
/// Markup is looked for this far into the file.
const HTML_PREFIX: usize = 512;

impl Format {
    /// Bytes at the start of a file that tell its format.
    pub(super) const DETECTED_BY: usize = 1024;

    /// The format of a file that starts with `bytes`, all of them or [`Format::DETECTED_BY`].
    pub(super) fn detect(bytes: &[u8]) -> Result<Self, WeightsError> {
        if bytes.is_empty() {
            return Err(WeightsError::Empty);
        }
        if bytes.starts_with(GIT_LFS) {
            return Err(WeightsError::GitLfsPointer);
        }
        if bytes.starts_with(ZIP) {
            return Ok(Format::Pth);
        }
        if bytes.starts_with(LEGACY_PICKLE) {
            return Err(WeightsError::LegacyPickle);
        }
        if bytes.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
            return Err(WeightsError::LegacyTar);
        }
        // A header length in 8 bytes, then the header: a JSON object.
        if bytes.get(8) == Some(&b'{') {
            return Ok(Format::Safetensors);
        }
        if is_html(bytes) {
            return Err(WeightsError::Html);
        }
        // A protocol buffer whose first field is number 1, a varint: the IR version, a small one.
        if bytes[0] == 0x08 && bytes.get(1).is_some_and(|&version| (1..64).contains(&version)) {
            return Ok(Format::Onnx);
        }
        let first_bytes = bytes[..bytes.len().min(8)].to_vec();
        Err(WeightsError::UnknownFormat { first_bytes })
    }
}

fn is_html(bytes: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(HTML_PREFIX)]).to_lowercase();
    let start = start.trim_start_matches('\u{feff}').trim_start();
    ["<!doctype html", "<html", "<head", "<?xml", "<!--"].iter().any(|tag| start.starts_with(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults() {
        let tar = [&[b'x'; 257][..], b"ustar\0"].concat();
        let cases: [(&[u8], &str); 7] = [
            (b"", "empty"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
            (b"\n\n<!DOCTYPE HTML><html>", "HTML"),
            (&tar, "tar"),
            (LEGACY_PICKLE, "pickle"),
            (b"\x89PNG\r\n\x1a\n????", "first bytes"),
            (b"\x08", "first bytes"),
        ];
        for (bytes, part) in cases {
            let error = Format::detect(bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{bytes:?}: {error}");
        }
    }
}
