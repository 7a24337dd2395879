//! `svtrv2 bulk` and `svtrv2 sql`, which the program `svtrv2-datafusion` runs.
//!
//! Its engine has several hundred crates, more than everything else here: who does not need it does
//! not build it.

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;

use crate::failure::{Failure, Result};

const PROGRAM: &str = "svtrv2-datafusion";

/// Settings of glibc's allocator: larger blocks, such as row groups of images, go back to the system when
/// they are freed, and a core has one arena, not eight. By itself it lets every thread keep some of them,
/// twice the memory.
fn allocator() -> [(&'static str, String); 3] {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    [
        ("MALLOC_MMAP_THRESHOLD_", "4194304".to_owned()),
        ("MALLOC_TRIM_THRESHOLD_", "67108864".to_owned()),
        ("MALLOC_ARENA_MAX", cores.to_string()),
    ]
}

/// Everything behind the command's name.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<OsString>,
}

/// Runs the program and ends as it does.
pub fn run(command: &str, arguments: &Arguments) -> Result<ExitCode> {
    let program = program();
    let unset = allocator().into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let mut child = Command::new(&program);
    match child.arg(command).args(&arguments.arguments).envs(unset).status() {
        // A program that a signal ended has no status.
        Ok(status) => Ok(ExitCode::from(status.code().map_or(1, |code| code as u8))),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::Input(format!(
            "`svtrv2 {command}` needs the program {PROGRAM}: cargo install {PROGRAM}"
        ))),
        Err(error) => Err(Failure::file(&program)(error)),
    }
}

/// The program beside this one, as `cargo install` puts it, or that of the search path.
fn program() -> PathBuf {
    let name = format!("{PROGRAM}{EXE_SUFFIX}");
    let beside = std::env::current_exe().map(|own| own.with_file_name(&name));
    beside.ok().filter(|path| path.is_file()).unwrap_or_else(|| name.into())
}
