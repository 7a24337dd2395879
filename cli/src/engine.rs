//! Commands of programs of their own: `svtrv2 bulk` and `svtrv2 sql` of `svtrv2-datafusion`, `svtrv2 page` of
//! `svtrv2-page`.
//!
//! The engine of the former has several hundred crates, more than everything else here: who does not need it
//! does not build it.

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;

use crate::failure::{Failure, Result};

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

/// Runs a command of `svtrv2-datafusion` and ends as it does.
pub fn run(command: &str, arguments: &Arguments) -> Result<ExitCode> {
    let unset = allocator().into_iter().filter(|(name, _)| std::env::var_os(name).is_none());
    let name = "svtrv2-datafusion";
    ended(
        command,
        name,
        Command::new(program(name)).arg(command).args(&arguments.arguments).envs(unset),
    )
}

/// Runs `svtrv2-page` and ends as it does.
pub fn run_page(arguments: &Arguments) -> Result<ExitCode> {
    let name = "svtrv2-page";
    ended("page", name, Command::new(program(name)).args(&arguments.arguments))
}

fn ended(command: &str, name: &str, child: &mut Command) -> Result<ExitCode> {
    match child.status() {
        // A program that a signal ended has no status.
        Ok(status) => Ok(ExitCode::from(status.code().map_or(1, |code| code as u8))),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Failure::Input(format!(
            "`svtrv2 {command}` needs the program {name}: cargo install {name}"
        ))),
        Err(error) => Err(Failure::file(child.get_program().as_ref())(error)),
    }
}

/// The program beside this one, as `cargo install` puts it, or that of the search path.
fn program(name: &str) -> PathBuf {
    let name = format!("{name}{EXE_SUFFIX}");
    let beside = std::env::current_exe().map(|own| own.with_file_name(&name));
    beside.ok().filter(|path| path.is_file()).unwrap_or_else(|| name.into())
}
