//! Estimates a character n-gram model from a word list.
//!
//! ```text
//! cargo run --release --example ngram -- --order 5 /usr/share/dict/words words.arpa
//! ```

mod support;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use support::network::open_charset;
use svtrv2::decode::{MAX_ORDER, Ngram};

/// Estimates a character n-gram model (interpolated Kneser-Ney) and writes it as an ARPA file.
#[derive(Parser)]
struct Arguments {
    /// The word list: a word a line, with a tab and a count behind it or without (then 1).
    words: PathBuf,
    /// The ARPA file to write.
    output: PathBuf,
    /// The order: characters that are looked at together.
    #[arg(long, default_value_t = 5)]
    order: usize,
    /// The charset: `english`, or a dictionary file with one entry a line.
    #[arg(long, default_value = "english")]
    charset: String,
    /// Appends a space to the dictionary.
    #[arg(long)]
    space: bool,
    /// Adds every word capitalised and in capitals, as signs have them.
    #[arg(long)]
    cases: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let charset = open_charset(&arguments.charset, arguments.space)?;
    if !(1..=MAX_ORDER).contains(&arguments.order) {
        return Err(format!("the order is 1 to {MAX_ORDER}").into());
    }
    let list = std::fs::read_to_string(&arguments.words)?;
    let mut words = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty()) {
        let (word, count) = match line.split_once('\t') {
            Some((word, count)) => (word, count.trim().parse()?),
            None => (line, 1),
        };
        words.push((word.to_owned(), count));
        if arguments.cases {
            let mut characters = word.chars();
            let first = characters.next().map(|c| c.to_uppercase().to_string());
            words.push((first.unwrap_or_default() + characters.as_str(), count));
            words.push((word.to_uppercase(), count));
        }
    }
    let usable = words.iter().filter(|(word, _)| charset.encode(word).is_ok()).count();
    let model = Ngram::from_words(&charset, &words, arguments.order)?;
    model.save(&arguments.output)?;
    let grams: Vec<usize> = (1..=model.order()).map(|order| model.count(order)).collect();
    println!("{usable} of {} words, {grams:?} n-grams by order", words.len());
    Ok(())
}
