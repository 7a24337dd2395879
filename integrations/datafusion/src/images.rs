//! Encoded images in an Arrow array of any binary type, borrowed.

use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::{
    Array, BinaryArray, BinaryViewArray, FixedSizeBinaryArray, LargeBinaryArray,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use svtrv2::{Crop, Recognition, Recognizer};

/// A result, or what is wrong with the image or the region.
pub(crate) type Outcome = std::result::Result<Recognition, String>;

/// An array of PNG and JPEG files.
pub(crate) enum Images<'a> {
    Null(usize),
    Binary(&'a BinaryArray),
    Large(&'a LargeBinaryArray),
    View(&'a BinaryViewArray),
    Fixed(&'a FixedSizeBinaryArray),
}

impl<'a> Images<'a> {
    pub(crate) fn new(array: &'a dyn Array) -> Result<Self> {
        let any = array.as_any();
        let images = match array.data_type() {
            DataType::Null => Some(Images::Null(array.len())),
            DataType::Binary => any.downcast_ref().map(Images::Binary),
            DataType::LargeBinary => any.downcast_ref().map(Images::Large),
            DataType::BinaryView => any.downcast_ref().map(Images::View),
            DataType::FixedSizeBinary(_) => any.downcast_ref().map(Images::Fixed),
            _ => None,
        };
        match images {
            Some(images) => Ok(images),
            None => exec_err!("images are binary, not {}", array.data_type()),
        }
    }

    /// The type that an argument is cast to before the call: its own, if images can be of it.
    pub(crate) fn coerced(given: &DataType) -> Result<DataType> {
        match given {
            DataType::Null
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Ok(given.clone()),
            DataType::Dictionary(_, values) => Images::coerced(values),
            other => plan_err!("images are binary (PNG or JPEG files), not {other}"),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Images::Null(len) => *len,
            Images::Binary(array) => array.len(),
            Images::Large(array) => array.len(),
            Images::View(array) => array.len(),
            Images::Fixed(array) => array.len(),
        }
    }

    /// The bytes in a row; none for NULL.
    pub(crate) fn get(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Images::Null(_) => None,
            Images::Binary(array) => array.is_valid(row).then(|| array.value(row)),
            Images::Large(array) => array.is_valid(row).then(|| array.value(row)),
            Images::View(array) => array.is_valid(row).then(|| array.value(row)),
            Images::Fixed(array) => array.is_valid(row).then(|| array.value(row)),
        }
    }

    /// Recognises the images of all rows, each as a crop: results in the order of the rows, none for
    /// NULL. A few crops are decoded at a time, by the threads of the pool.
    pub(crate) fn recognize(
        &self,
        recognizer: &Recognizer,
    ) -> impl Iterator<Item = Option<Outcome>> {
        let present = (0..self.len()).filter_map(move |row| self.get(row)).map(Encoded);
        let mut results = recognizer.recognize_stream(present);
        (0..self.len()).map(move |row| {
            let result = self.get(row).and_then(|_| results.next());
            let outcome = result.map(|result| result.map_err(|error| error.report().to_string()));
            outcome.iter().for_each(count);
            outcome
        })
    }
}

/// The bytes of an image file, which the recogniser's threads decode.
struct Encoded<'a>(&'a [u8]);

impl<'a> TryFrom<Encoded<'a>> for Crop<'a> {
    type Error = svtrv2::Error;

    fn try_from(Encoded(bytes): Encoded) -> svtrv2::Result<Self> {
        Crop::decode(bytes)
    }
}

static RECOGNIZED: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Crops and regions that the process has recognised or failed to recognise so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Those with a result.
    pub recognized: u64,
    /// Those with an error.
    pub failed: u64,
}

impl Counts {
    /// The counts at this moment.
    pub fn now() -> Self {
        let [recognized, failed] =
            [&RECOGNIZED, &FAILED].map(|count| count.load(Ordering::Relaxed));
        Counts { recognized, failed }
    }
}

pub(crate) fn count(outcome: &Outcome) {
    let counter = if outcome.is_ok() { &RECOGNIZED } else { &FAILED };
    counter.fetch_add(1, Ordering::Relaxed);
}
