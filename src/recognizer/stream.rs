//! Crops from an iterator, results in its order, in bounded memory.

use std::iter::Fuse;
use std::vec;

use super::Recognizer;
use super::batch::Prepared;
use crate::cpu;
use crate::crop::Crop;
use crate::error::{Error, Result};
use crate::recognition::Recognition;

/// Crops that are taken from the source at a time, for each thread of the pool.
const CROPS_PER_THREAD: usize = 32;

impl Recognizer {
    /// Recognises crops as an iterator yields them. Results come in the order of the crops, each
    /// with its own failure.
    ///
    /// Crops are taken lazily, 32 for each thread of the current rayon pool at a time. The threads
    /// turn them into [`Crop`]s, resize and recognise them. At most that many crops are held at the
    /// same time, however many the source has.
    ///
    /// An item is what can become a [`Crop`]: a crop, an image, or a path, whose file is then
    /// decoded by the pool's threads.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::path::PathBuf;
    ///
    /// let recognizer = svtrv2::Recognizer::open("svtrv2_b.safetensors")?;
    /// let paths = std::io::stdin().lines().map_while(Result::ok);
    /// for result in recognizer.recognize_stream(paths.map(PathBuf::from)) {
    ///     match result {
    ///         Ok(recognition) => println!("{}", recognition.text),
    ///         Err(error) => eprintln!("{}", error.report()),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn recognize_stream<'a, C, I>(
        &self,
        crops: I,
    ) -> impl Iterator<Item = Result<Recognition>> + use<'_, 'a, C, I>
    where
        I: IntoIterator<Item = C>,
        C: TryInto<Crop<'a>> + Send,
        Error: From<C::Error>,
    {
        self.try_recognize_stream(crops.into_iter().map(Ok::<C, Error>))
    }

    /// As [`recognize_stream`](Self::recognize_stream) for a source that can fail, such as a
    /// database or an archive. Its errors come in their places among the results.
    pub fn try_recognize_stream<'a, C, E, I>(
        &self,
        crops: I,
    ) -> RecognitionStream<'_, I::IntoIter, E>
    where
        I: IntoIterator<Item = Result<C, E>>,
        C: TryInto<Crop<'a>> + Send,
        Error: From<C::Error>,
        E: From<Error>,
    {
        RecognitionStream {
            recognizer: self,
            source: crops.into_iter().fuse(),
            ready: Vec::new().into_iter(),
        }
    }
}

/// The results of [`Recognizer::try_recognize_stream`].
pub struct RecognitionStream<'r, I, E> {
    recognizer: &'r Recognizer,
    source: Fuse<I>,
    ready: vec::IntoIter<Result<Recognition, E>>,
}

impl<'a, C, E, I> Iterator for RecognitionStream<'_, I, E>
where
    I: Iterator<Item = Result<C, E>>,
    C: TryInto<Crop<'a>> + Send,
    Error: From<C::Error>,
    E: From<Error>,
{
    type Item = Result<Recognition, E>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(result) = self.ready.next() {
            return Some(result);
        }
        // The source's own errors, each with the number of crops before it.
        let mut failures: Vec<(usize, E)> = Vec::new();
        let mut crops: Vec<C> = Vec::new();
        let window = CROPS_PER_THREAD * rayon::current_num_threads();
        while crops.len() + failures.len() < window {
            match self.source.next() {
                Some(Ok(crop)) => crops.push(crop),
                Some(Err(error)) => failures.push((crops.len(), error)),
                None => break,
            }
        }
        let prepare = |crop: C| self.recognizer.resize(&crop.try_into()?);
        let prepared: Vec<Prepared> = cpu::map_jobs(crops, prepare);
        let recognized = self.recognizer.recognize_prepared(prepared).into_iter();
        let mut recognized = recognized.map(|(result, _)| result.map_err(E::from));
        let mut results = Vec::with_capacity(recognized.len() + failures.len());
        let mut taken = 0;
        for (before, error) in failures {
            results.extend(recognized.by_ref().take(before - taken));
            taken = before;
            results.push(Err(error));
        }
        results.extend(recognized);
        self.ready = results.into_iter();
        self.ready.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let ready = self.ready.len();
        let (least, most) = self.source.size_hint();
        (least.saturating_add(ready), most.and_then(|most| most.checked_add(ready)))
    }
}
