//! `svtrv2-datafusion`: the commands `svtrv2 bulk` and `svtrv2 sql`.

mod program;

use std::process::ExitCode;

fn main() -> ExitCode {
    program::main()
}
