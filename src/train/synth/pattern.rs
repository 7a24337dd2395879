//! Texts that follow a pattern: prices, times, phone numbers.

use rand::{Rng, RngExt};

use crate::train::TrainError;

/// The most repetitions of a part of a pattern.
const MAX_REPEATS: u32 = 64;
/// How deep groups may lie in each other.
const MAX_DEPTH: usize = 16;

/// A pattern of texts, in the notation of regular expressions: characters, classes `[a-z_]`, digits
/// `\d`, groups with alternatives `(ab|cd|)`, and repetitions `?`, `{3}` and `{2,4}`. A backslash
/// takes any other character as it is. There are no stars, since texts end.
#[derive(Debug, Clone)]
pub(super) struct Pattern(Vec<Vec<Part>>);

/// A piece with the number of its repetitions.
#[derive(Debug, Clone)]
struct Part {
    piece: Piece,
    least: u32,
    most: u32,
}

#[derive(Debug, Clone)]
enum Piece {
    /// One of these.
    Class(Vec<char>),
    Group(Pattern),
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, TrainError> {
        let mut rest = text.chars().collect::<Vec<char>>();
        rest.reverse();
        let fault =
            |what: &str| TrainError::Options { detail: format!("the pattern {text:?}: {what}") };
        let pattern = alternatives(&mut rest, 0).map_err(fault)?;
        if rest.is_empty() { Ok(pattern) } else { Err(fault("\")\" without \"(\"")) }
    }

    /// Appends a text that follows the pattern. Alternatives, numbers of repetitions and characters
    /// of a class are equally probable.
    pub(super) fn draw(&self, rng: &mut impl Rng, text: &mut String) {
        let Pattern(alternatives) = self;
        for Part { piece, least, most } in &alternatives[rng.random_range(0..alternatives.len())] {
            for _ in 0..rng.random_range(*least..=*most) {
                match piece {
                    Piece::Class(characters) => {
                        text.push(characters[rng.random_range(0..characters.len())]);
                    }
                    Piece::Group(pattern) => pattern.draw(rng, text),
                }
            }
        }
    }
}

/// Reads up to the end or a closing bracket; `rest` is what follows, the last character first.
fn alternatives(rest: &mut Vec<char>, depth: usize) -> Result<Pattern, &'static str> {
    if depth > MAX_DEPTH {
        return Err("too many groups in each other");
    }
    let mut all = vec![Vec::new()];
    while let Some(next) = rest.pop() {
        let piece = match next {
            ')' => {
                rest.push(')');
                break;
            }
            '|' => {
                all.push(Vec::new());
                continue;
            }
            '(' => {
                let inner = alternatives(rest, depth + 1)?;
                rest.pop().ok_or("\"(\" without \")\"")?;
                Piece::Group(inner)
            }
            '[' => Piece::Class(class(rest)?),
            '\\' => match rest.pop().ok_or("it ends with a backslash")? {
                'd' => Piece::Class(('0'..='9').collect()),
                other => Piece::Class(vec![other]),
            },
            '?' | '{' => return Err("a repetition of nothing"),
            other => Piece::Class(vec![other]),
        };
        let (least, most) = repetitions(rest)?;
        if let Some(parts) = all.last_mut() {
            parts.push(Part { piece, least, most });
        }
    }
    Ok(Pattern(all))
}

/// The characters up to the closing `]`.
fn class(rest: &mut Vec<char>) -> Result<Vec<char>, &'static str> {
    let mut characters = Vec::new();
    loop {
        let first = match rest.pop().ok_or("\"[\" without \"]\"")? {
            ']' if characters.is_empty() => return Err("an empty class"),
            ']' => return Ok(characters),
            '\\' => rest.pop().ok_or("it ends with a backslash")?,
            other => other,
        };
        let range = rest.len() >= 2 && rest[rest.len() - 1] == '-' && rest[rest.len() - 2] != ']';
        if range {
            rest.pop();
            let last = rest.pop().ok_or("\"[\" without \"]\"")?;
            if last < first {
                return Err("a range that runs backwards");
            }
            characters.extend(first..=last);
        } else {
            characters.push(first);
        }
    }
}

fn repetitions(rest: &mut Vec<char>) -> Result<(u32, u32), &'static str> {
    match rest.last() {
        Some('?') => {
            rest.pop();
            Ok((0, 1))
        }
        Some('{') => {
            rest.pop();
            let mut inside = String::new();
            loop {
                match rest.pop().ok_or("\"{\" without \"}\"")? {
                    '}' => break,
                    other => inside.push(other),
                }
            }
            let (least, most) = inside.split_once(',').unwrap_or((&inside, &inside));
            match (least.trim().parse(), most.trim().parse()) {
                (Ok(least), Ok(most)) if least <= most && most <= MAX_REPEATS => Ok((least, most)),
                _ => Err("repetitions that are no numbers, or too many"),
            }
        }
        _ => Ok((1, 1)),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    #[test]
    fn texts_follow_their_pattern() {
        let mut rng = Pcg64Mcg::seed_from_u64(3);
        let mut draw = |pattern: &str| {
            let mut text = String::new();
            Pattern::parse(pattern).unwrap().draw(&mut rng, &mut text);
            text
        };
        assert_eq!(draw("plain"), "plain");
        assert_eq!(draw(r"\$\[\]\\"), r"$[]\");
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..300 {
            let time = draw(r"(1?[1-9])(:|\.)[0-5]\d(am|pm)?");
            assert!(
                time.ends_with("am") || time.ends_with("pm") || time.ends_with(char::is_numeric)
            );
            assert!((4..=7).contains(&time.len()), "{time}");
            let code = draw("[A-C_]{2,4}");
            assert!((2..=4).contains(&code.len()) && code.chars().all(|c| "ABC_".contains(c)));
            seen.extend(code.chars());
        }
        assert_eq!(seen.len(), 4);
    }

    #[test]
    fn faults_are_named() {
        for pattern in ["(a", "a)", "[a", "[]", "a{", "a{3,2}", "a{9999}", "?", "a\\", "[z-a]"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::parse(&"(".repeat(100)).is_err());
    }
}
