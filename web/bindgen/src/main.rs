//! Writes the JavaScript that belongs to a WebAssembly module, as the program `wasm-bindgen` does.
//! Being a package of the module's workspace, it always has the version that the module was built
//! with, and needs no installation.

use std::error::Error;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [module, name, folder] = arguments.as_slice() else {
        return Err("arguments: MODULE.wasm NAME FOLDER".into());
    };
    Bindgen::new()
        .input_path(module)
        .out_name(name)
        .web(true)?
        .typescript(true)
        .remove_name_section(true)
        .generate(folder)?;
    Ok(())
}
