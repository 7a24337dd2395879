//! Errors as JavaScript's `Error`.

use std::error::Error;

use svtrv2::ErrorReport;
use wasm_bindgen::{JsError, JsValue};

/// Why a call failed: a message with its causes.
pub struct Failure(String);

impl Failure {
    pub(crate) fn new(message: &str) -> Self {
        Failure(message.to_owned())
    }
}

impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure(ErrorReport::new(&error).to_string())
    }
}

impl From<Failure> for JsValue {
    fn from(Failure(message): Failure) -> Self {
        JsError::new(&message).into()
    }
}
