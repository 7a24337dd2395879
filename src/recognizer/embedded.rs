//! The recogniser that needs no file.

use super::{Options, Recognizer};
use crate::error::Result;
use crate::weights::Weights;

impl Recognizer {
    /// The English model that is part of the crate, with default options.
    ///
    /// It knows the 94 printable ASCII characters but the space. [`Weights::embedded`] with
    /// [`Recognizer::new`] takes other options;
    /// [`Decoder::english`](crate::decode::Decoder::english) adds the language model.
    ///
    /// ```
    /// use svtrv2::{Recognizer, decode::Decoder};
    ///
    /// let recognizer = Recognizer::embedded()?;
    /// let decoder = Decoder::english(recognizer.charset())?;
    /// let recognizer = recognizer.with_decoder(decoder)?;
    /// let recognition = recognizer.recognize(&image::open("examples/crops/harbour.png")?)?;
    /// println!("{} ({:.2})", recognition.text, recognition.confidence);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// None today: the file is part of the program.
    pub fn embedded() -> Result<Self> {
        Self::new(&Weights::embedded()?, Options::default())
    }
}
