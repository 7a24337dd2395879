//! `svtrv2 ngram`: a language model from a word list.

use std::path::PathBuf;

use clap::Args;
use svtrv2::decode::{MAX_ORDER, Ngram};

use crate::failure::{Failure, Result, read_text, say};
use crate::options::network::open_charset;

/// Estimate a character n-gram model from a word list.
///
/// The model (interpolated Kneser-Ney) is written as an ARPA file, which `evaluate --lm` and the
/// example `recognize` take. Words with symbols outside the charset are left out and counted.
#[derive(Args)]
#[command(after_help = "\
Example: a 5-gram model of English words, also capitalised and in capitals
    svtrv2 ngram --cases /usr/share/dict/american-english words.arpa")]
pub struct Arguments {
    /// The word list: one word a line, or a word, a tab and its count
    words: PathBuf,
    /// The ARPA file to write
    output: PathBuf,
    /// The order of the model: a symbol is predicted from ORDER - 1 symbols before it
    #[arg(long, default_value_t = 5, value_parser = order)]
    order: usize,
    /// The charset: `english`, or a dictionary file with one entry a line
    #[arg(long, default_value = "english")]
    charset: String,
    /// Append a space to the dictionary
    #[arg(long)]
    space: bool,
    /// Add every word capitalised and in capitals
    #[arg(long)]
    cases: bool,
}

/// An order that models can have.
pub fn order(text: &str) -> std::result::Result<usize, String> {
    let order = text.parse().ok().filter(|order| (1..=MAX_ORDER).contains(order));
    order.ok_or_else(|| format!("the order is a number from 1 to {MAX_ORDER}"))
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let charset = open_charset(&arguments.charset, arguments.space)?;
    let mut words = Vec::new();
    for (number, line) in read_text(&arguments.words)?.lines().enumerate() {
        let (word, count) = match line.split_once('\t') {
            Some((word, count)) => {
                let count = count.trim().parse().map_err(|_| {
                    let path = arguments.words.display();
                    Failure::Input(format!("{path}: line {}: {count:?} is no count", number + 1))
                })?;
                (word, count)
            }
            None => (line, 1),
        };
        if word.is_empty() {
            continue;
        }
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
    say(format!("{usable} of {} words, {grams:?} n-grams by order", words.len()))
}
