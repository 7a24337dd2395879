//! What the programs share: command-line arguments that set up a recogniser, and pictures.

#![allow(dead_code, reason = "each program uses a part")]

pub mod decoder;
pub mod drawing;
pub mod network;
