//! Recognisers that need no file.

use super::{Options, Recognizer};
use crate::error::Result;
use crate::weights::Weights;

impl Recognizer {
    /// The default model, with default options: the English one, [`Recognizer::english`].
    ///
    /// # Errors
    /// None today: the file is part of the program.
    #[cfg(feature = "embedded")]
    pub fn embedded() -> Result<Self> {
        Self::english()
    }

    /// The English model of the crate `svtrv2-english`, with default options.
    ///
    /// It knows the 94 printable ASCII characters but the space. [`Weights::embedded`] with
    /// [`Recognizer::new`] takes other options;
    /// [`Decoder::english`](crate::decode::Decoder::english) adds the language model.
    ///
    /// ```
    /// use svtrv2::{Recognizer, decode::Decoder};
    ///
    /// let recognizer = Recognizer::english()?;
    /// let decoder = Decoder::english(recognizer.charset())?;
    /// let recognizer = recognizer.with_decoder(decoder)?;
    /// let recognition = recognizer.recognize(&image::open("examples/crops/harbour.png")?)?;
    /// println!("{} ({:.2})", recognition.text, recognition.confidence);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// None today: the file is part of the program.
    #[cfg(feature = "embedded")]
    pub fn english() -> Result<Self> {
        Self::new(&Weights::embedded()?, Options::default())
    }

    /// The model for words and lines in Latin script, with default options: the European languages, Turkish,
    /// Indonesian, with spaces, typographic punctuation and currency signs (407 symbols, 3.2 MB). The card of
    /// the crate `svtrv2-latin` says what it reads how well, and what not.
    ///
    /// ```
    /// let recognizer = svtrv2::Recognizer::latin()?;
    /// let line = recognizer.recognize(svtrv2::Crop::open("examples/lines/menu.png")?)?;
    /// assert_eq!(line.text, "Crème brûlée 4,50 €");
    /// assert_eq!(line.words().len(), 4);
    /// # Ok::<(), svtrv2::Error>(())
    /// ```
    ///
    /// # Errors
    /// None today: the file is part of the program.
    #[cfg(feature = "latin")]
    pub fn latin() -> Result<Self> {
        Self::new(&Weights::latin()?, Options::default())
    }
}
