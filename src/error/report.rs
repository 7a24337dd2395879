//! An error with its causes, in one line.

use std::error::Error;
use std::fmt;

/// An error's message with those of its causes behind it, which [`Display`](fmt::Display) writes in one line:
/// `cannot read crop.png: No such file or directory (os error 2)`.
///
/// The messages of this crate's errors do not repeat their [`source`](Error::source), as programs expect that
/// print the causes of any error. This is for those that print one line. A cause whose words the message before
/// it has said already is left out.
///
/// ```
/// let error = svtrv2::Charset::open("no_such_file.txt", false).unwrap_err();
/// assert_eq!(error.to_string(), "cannot read no_such_file.txt");
/// let line = svtrv2::ErrorReport::new(&error).to_string();
/// assert!(line.starts_with("cannot read no_such_file.txt: "));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ErrorReport<'a>(&'a (dyn Error + 'static));

impl<'a> ErrorReport<'a> {
    /// Of any error.
    pub fn new(error: &'a (dyn Error + 'static)) -> Self {
        ErrorReport(error)
    }
}

impl fmt::Display for ErrorReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut message = self.0.to_string();
        f.write_str(&message)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            let own = cause.to_string();
            if !message.contains(&own) {
                write!(f, ": {own}")?;
                message = own;
            }
            source = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::error::{ComputeError, ImageError};

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Repeating(#[source] ImageError);

    #[test]
    fn causes_follow_and_are_not_repeated() {
        let io = || ImageError::Io {
            path: PathBuf::from("a.png"),
            source: std::io::Error::other("gone"),
        };
        assert_eq!(
            ErrorReport::new(&crate::Error::from(io())).to_string(),
            "cannot read a.png: gone"
        );
        assert_eq!(
            ErrorReport::new(&Repeating(io())).to_string(),
            "outer: cannot read a.png: gone"
        );
        let device = ComputeError::Device { source: "no memory".into() };
        let error = crate::Error::from(device);
        assert_eq!(error.to_string(), "the device failed");
        assert_eq!(ErrorReport::new(&error).to_string(), "the device failed: no memory");
        assert_eq!(error.report().to_string(), "the device failed: no memory");
    }
}
