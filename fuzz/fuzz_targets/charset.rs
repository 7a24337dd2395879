//! Dictionaries, and texts that they cut into symbols.
#![no_main]

use libfuzzer_sys::fuzz_target;
use svtrv2::Charset;
use svtrv2::decode::{HotWords, Lexicon};
use svtrv2_fuzz::{Bytes, MB, within};

/// With `SVTRV2_SEEDS` set to a folder this program writes the first corpora there, and ends.
fn write_seeds() {
    if let Some(folder) = std::env::var_os("SVTRV2_SEEDS") {
        svtrv2_fuzz::seeds::write(std::path::Path::new(&folder)).expect("seeds");
        std::process::exit(0);
    }
}

fuzz_target!(init: write_seeds(), |bytes: &[u8]| {
    let mut input = Bytes(bytes);
    let (space, ignore_case) = (input.byte() & 1 == 1, input.byte() & 1 == 1);
    let text = input.text(255);
    let dictionary = String::from_utf8_lossy(input.0);
    within(4 * MB + 200 * bytes.len(), || {
        let Ok(charset) = Charset::from_dictionary(&dictionary, space) else {
            return;
        };
        if let Ok(classes) = charset.encode(&text) {
            let back: String = classes.iter().filter_map(|&class| charset.symbol(class)).collect();
            assert_eq!(back, text);
        }
        let words: Vec<&str> = text.split(' ').collect();
        let lexicon = Lexicon::new(&charset, &words, None, ignore_case).expect("no penalty");
        assert!(lexicon.skipped().len() <= words.len());
        let bonuses: Vec<(&str, f64)> = words.iter().map(|word| (*word, 1.0)).collect();
        let _ = HotWords::new(&charset, &bonuses, ignore_case);
    });
});
