//! `svtrv2 word-lm`: the language models that the crates of weights hold.

use std::collections::HashMap;
use std::path::PathBuf;

use clap::Args;
use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng, SeedableRng};
use svtrv2::Charset;
use svtrv2::decode::{CompactNgram, Ngram, Smoothing};

use crate::failure::{Failure, Result, read_text, say};
use crate::ngram::order;
use crate::options::network::open_charset;
use crate::output;

/// Build a compact n-gram model of words, names, numbers and codes, in lower case.
///
/// The models of `Decoder::english` and `Decoder::latin` come from this command. The same input gives the same
/// file. Languages, a file each, count alike.
#[derive(Args)]
#[command(after_help = "\
Examples: the models of the crates svtrv2-english and svtrv2-latin
    svtrv2 word-lm --frequencies wordfreq_en.tsv --names brands.txt --names cities.txt english.ngram
    svtrv2 word-lm --frequencies words/cs.tsv --frequencies words/de.tsv --names sentences.txt \\
        --charset charset.txt latin.ngram")]
pub struct Arguments {
    /// The file to write
    output: PathBuf,
    /// Words, one a line: a word, a tab, and its Zipf frequency (the base-10 logarithm of its
    /// occurrences in a billion words). May be given more than once: a language each
    #[arg(long, value_name = "FILE", required = true)]
    frequencies: Vec<PathBuf>,
    /// The charset: `english`, or a dictionary file with one entry a line
    #[arg(long, default_value = "english")]
    charset: String,
    /// Names or other texts; every word counts. May be given more than once
    #[arg(long, value_name = "FILE")]
    names: Vec<PathBuf>,
    /// The power of a word's frequency that it counts with: 1 as often as in texts, 0 every word
    /// alike
    #[arg(long, default_value_t = 0.35)]
    power: f64,
    /// The share of names
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    name_share: f64,
    /// The share of generated numbers, prices, times, dates, codes, addresses
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    number_share: f64,
    /// The order of the model: a symbol is predicted from ORDER - 1 symbols before it
    #[arg(long, default_value_t = 7, value_parser = order)]
    order: usize,
    /// N-grams that are kept
    #[arg(long, value_name = "COUNT", default_value_t = 500_000)]
    grams: usize,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let charset = &open_charset(&arguments.charset, false)?;
    let mut words = HashMap::new();
    for path in &arguments.frequencies {
        let mut own = HashMap::new();
        for (number, line) in read_text(path)?.lines().enumerate() {
            let parts = line.split_once('\t');
            let parts =
                parts.and_then(|(word, zipf)| Some((word, zipf.trim().parse::<f64>().ok()?)));
            let (word, zipf) = parts.ok_or_else(|| {
                let path = path.display();
                Failure::Input(format!("{path}: line {} is not a word and a number", number + 1))
            })?;
            add(&mut own, charset, word, 10f64.powf(zipf * arguments.power));
        }
        // Languages count alike.
        let scale = match arguments.frequencies.len() {
            1 => 1.0,
            _ => 1e6 / own.values().sum::<f64>().max(1e-9),
        };
        for (word, weight) in own {
            *words.entry(word).or_default() += weight * scale;
        }
    }
    let mut names = HashMap::new();
    for path in &arguments.names {
        for name in read_text(path)?.split_whitespace() {
            add(&mut names, charset, name, 1.0);
        }
    }
    let mut numbers = HashMap::new();
    let mut random = Random(Pcg32::seed_from_u64(1));
    for _ in 0..100_000 {
        add(&mut numbers, charset, &random.number(), 1.0);
    }
    let &Arguments { name_share, number_share, .. } = arguments;
    let shares = [1.0 - name_share - number_share, name_share, number_share];
    let mut sum = HashMap::new();
    // The rarest word counts once: smoothing needs whole numbers.
    let rarest = words.values().copied().fold(f64::INFINITY, f64::min);
    let total = words.values().sum::<f64>() / rarest / shares[0];
    for (source, share) in [&words, &names, &numbers].into_iter().zip(shares) {
        let scale = share * total / source.values().sum::<f64>().max(1.0);
        for (word, weight) in source {
            add(&mut sum, charset, word, weight * scale);
        }
    }
    // In one order, whatever the hash map's: the file is the same every time.
    let mut sequences: Vec<(Vec<String>, u64)> = sum
        .into_iter()
        .map(|(word, weight)| (word.chars().map(String::from).collect(), weight.round() as u64))
        .collect();
    sequences.sort();
    let sequences =
        || sequences.iter().map(|(word, count)| (word.iter().map(String::as_str), *count));
    let full = Ngram::estimate_with(Smoothing::Absolute, sequences(), arguments.order)?;
    let pruned = full.pruned(sequences(), arguments.grams);
    let bytes = CompactNgram::encode(&pruned)?;
    output::replace(&arguments.output, |file| file.write_all(&bytes))?;
    let count = |model: &Ngram| (1..=model.order()).map(|order| model.count(order)).collect();
    let (before, after): (Vec<usize>, Vec<usize>) = (count(&full), count(&pruned));
    say(format!("{before:?} n-grams by order, {after:?} kept, {} bytes", bytes.len()))
}

/// Adds a word in lower case, if the charset can write it.
fn add(words: &mut HashMap<String, f64>, charset: &Charset, word: &str, weight: f64) {
    let word = word.to_lowercase();
    if charset.encode(&word).is_ok() {
        *words.entry(word).or_default() += weight;
    }
}

/// Numbers and codes as signs have them.
struct Random(Pcg32);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0.next_u32() % end
    }

    fn digits(&mut self, count: u32) -> String {
        (0..count).map(|_| char::from(b'0' + self.below(10) as u8)).collect()
    }

    fn letters(&mut self, count: u32) -> String {
        (0..count).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u32) as usize]
    }

    fn number(&mut self) -> String {
        let len = 1 + self.below(4);
        match self.below(20) {
            // Whole numbers; small ones are more frequent.
            0..=5 => {
                let most = 10u32.pow(len);
                self.below(most).to_string()
            }
            6 => (1900 + self.below(130)).to_string(),
            7 => {
                let len = 5 + self.below(6);
                self.digits(len)
            }
            // Prices and shares.
            8 => {
                let sign = self.pick(&["$", "$", "$", ""]);
                format!("{sign}{}.{}", self.below(200), self.pick(&["99", "95", "50", "00", "49"]))
            }
            9 => format!("${}", self.below(1000)),
            10 => {
                let mark =
                    self.pick(&["%", "%", "+", "th", "st", "nd", "rd", "km", "kg", "ml", "m"]);
                format!("{}{mark}", self.below(100))
            }
            // Times and dates.
            11 => format!("{}:{:02}", self.below(24), 5 * self.below(12)),
            12 => {
                let half = self.pick(&["am", "pm"]);
                match self.below(2) {
                    0 => format!("{}{half}", 1 + self.below(12)),
                    _ => format!("{}:{:02}{half}", 1 + self.below(12), 15 * self.below(4)),
                }
            }
            13 => {
                let mark = self.pick(&["/", "-", "."]);
                let (day, month) = (1 + self.below(31), 1 + self.below(12));
                format!("{day:02}{mark}{month:02}{mark}{}", 1990 + self.below(50))
            }
            // Telephone numbers.
            14 => format!("{}-{}", self.digits(3), self.digits(4)),
            15 => format!("({}){}-{}", self.digits(3), self.digits(3), self.digits(4)),
            // Codes: number plates, flights, models, rooms.
            16 => {
                let (letters, digits) = (1 + self.below(3), 1 + self.below(4));
                format!("{}{}", self.letters(letters), self.digits(digits))
            }
            17 => {
                let (letters, digits) = (1 + self.below(3), 2 + self.below(3));
                format!("{}-{}", self.letters(letters), self.digits(digits))
            }
            18 => {
                let (digits, letters) = (1 + self.below(3), 1 + self.below(2));
                format!("{}{}", self.digits(digits), self.letters(letters))
            }
            _ => {
                let mark = self.pick(&["#", "no.", "rm", "a", "b", "gate"]);
                format!("{mark}{}", self.below(500))
            }
        }
    }
}
