//! The only place with unsafe code: each operation behind a safe function.

#![allow(unsafe_code)]

mod file_map;

pub(crate) use file_map::FileMap;
