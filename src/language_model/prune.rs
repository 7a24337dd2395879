//! Pruning n-gram models by relative entropy (Stolcke, 1998, arXiv cs/0006025).

use super::ngram::{Entry, Gram, MAX_ORDER, Ngram};

/// N-grams are pruned in so many rounds: what one takes away changes what the next costs.
const ROUNDS: usize = 8;

impl Ngram {
    /// The model without the n-grams that the text will miss least: at most `grams` are left,
    /// single tokens and what they need included.
    ///
    /// Leaving out an n-gram makes its last token fall back to the shorter history. What that
    /// costs, in nats for a token of the text, is the relative entropy of the two distributions
    /// times the share of the history in `sequences`, the text that the model was estimated from.
    /// Only n-grams that are no history of another one are left out.
    pub fn pruned<'a, T>(
        &self,
        sequences: impl IntoIterator<Item = (T, u64)>,
        grams: usize,
    ) -> Ngram
    where
        T: IntoIterator<Item = &'a str>,
    {
        let shares = self.history_shares(sequences);
        let mut orders: Vec<Vec<Pruned>> = self.with_shares(&shares);
        let total = |orders: &[Vec<Pruned>]| orders.iter().map(Vec::len).sum::<usize>();
        let before = total(&orders);
        for round in 1..=ROUNDS {
            // Geometric steps from the full size to the one asked for.
            let ratio = (grams as f64 / before as f64).powf(round as f64 / ROUNDS as f64);
            let target = ((before as f64 * ratio) as usize).max(grams);
            // What is a leaf only when its longer n-grams are gone goes in the next pass.
            while total(&orders) > target && prune(&mut orders, target) {}
        }
        let entries: Vec<Vec<Entry>> =
            orders.iter().map(|order| order.iter().map(|pruned| pruned.entry).collect()).collect();
        Ngram::from_entries(self.vocabulary().to_vec(), &entries)
    }

    fn with_shares(&self, shares: &[f64]) -> Vec<Vec<Pruned>> {
        // Entries come in the order of the nodes; node 0 is the empty history.
        let mut shares = shares.iter().skip(1);
        self.entries()
            .into_iter()
            .map(|order| {
                let pruned = |entry| Pruned { entry, share: *shares.next().unwrap_or(&0.0) };
                order.into_iter().map(pruned).collect()
            })
            .collect()
    }
}

/// An n-gram, and its share as a history of the text's tokens.
#[derive(Debug, Clone, Copy)]
struct Pruned {
    entry: Entry,
    share: f64,
}

/// Leaves out the cheapest leaves until `target` n-grams are left, and corrects the backoffs;
/// whether there was any to leave out.
fn prune(orders: &mut [Vec<Pruned>], target: usize) -> bool {
    let total: usize = orders.iter().map(Vec::len).sum();
    let mut costs: Vec<(f64, usize, usize)> = Vec::new();
    for length in 2..=orders.len() {
        for (at, _, cost) in leaves(orders, length) {
            costs.push((cost, length, at));
        }
    }
    costs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
    costs.truncate(total - target);
    let mut gone: Vec<Vec<bool>> = orders.iter().map(|order| vec![false; order.len()]).collect();
    for &(_, length, at) in &costs {
        gone[length - 1][at] = true;
    }
    for (order, gone) in orders.iter_mut().zip(&gone) {
        let mut gone = gone.iter();
        order.retain(|_| !gone.next().copied().unwrap_or(false));
    }
    for length in 2..=orders.len() {
        correct_backoffs(orders, length);
    }
    !costs.is_empty()
}

/// Of every leaf of a length: its place, its history's place, and what leaving it out costs.
fn leaves(orders: &[Vec<Pruned>], length: usize) -> Vec<(usize, usize, f64)> {
    let order = &orders[length - 1];
    let mut is_history = vec![false; order.len()];
    if let Some(longer) = orders.get(length) {
        let mut at = 0;
        for group in longer.chunk_by(|a, b| history(a, length + 1) == history(b, length + 1)) {
            let wanted = history(&group[0], length + 1);
            while order[at].entry.gram != wanted {
                at += 1;
            }
            is_history[at] = true;
        }
    }
    let mut found = Vec::new();
    let mut first = 0;
    for group in order.chunk_by(|a, b| history(a, length) == history(b, length)) {
        let parent = place(&orders[length - 2], &history(&group[0], length));
        let parent_share = orders[length - 2][parent].share;
        let Mass { here, below } = mass(orders, group, length);
        let (left, left_below) = ((1.0 - here).max(1e-9), (1.0 - below).max(1e-9));
        let backoff = (left / left_below).ln();
        for (offset, pruned) in group.iter().enumerate() {
            let at = first + offset;
            if is_history[at] {
                continue;
            }
            let log_prob = natural(pruned.entry.log10_prob);
            let log_lower = backed_off(orders, &pruned.entry.gram, length);
            let (prob, lower) = (log_prob.exp(), log_lower.exp());
            let new_backoff = ((left + prob) / (left_below + lower)).ln();
            let change =
                prob * (log_prob - log_lower - new_backoff) - left * (new_backoff - backoff);
            found.push((at, parent, parent_share * change.max(0.0)));
        }
        first += group.len();
    }
    found
}

/// The probability of the tokens that a history lists, there and behind the shorter history.
struct Mass {
    here: f64,
    below: f64,
}

fn mass(orders: &[Vec<Pruned>], group: &[Pruned], length: usize) -> Mass {
    let here = group.iter().map(|pruned| natural(pruned.entry.log10_prob).exp()).sum();
    let below =
        group.iter().map(|pruned| backed_off(orders, &pruned.entry.gram, length).exp()).sum();
    Mass { here, below }
}

/// Sets the backoffs of the histories of n-grams of a length so that probabilities sum to 1.
fn correct_backoffs(orders: &mut [Vec<Pruned>], length: usize) {
    let mut backoffs = vec![0.0; orders[length - 2].len()];
    for group in orders[length - 1].chunk_by(|a, b| history(a, length) == history(b, length)) {
        let parent = place(&orders[length - 2], &history(&group[0], length));
        let Mass { here, below } = mass(orders, group, length);
        backoffs[parent] = ((1.0 - here).max(1e-9) / (1.0 - below).max(1e-9)).log10();
    }
    for (pruned, backoff) in orders[length - 2].iter_mut().zip(backoffs) {
        pruned.entry.backoff = backoff as f32;
    }
}

/// The natural-log probability of an n-gram's last token behind the history without its first
/// token.
fn backed_off(orders: &[Vec<Pruned>], gram: &Gram, length: usize) -> f64 {
    let mut sum = 0.0;
    for start in 1..length {
        let mut shorter = [0; MAX_ORDER];
        let len = length - start;
        shorter[..len].copy_from_slice(&gram[start..length]);
        if let Ok(at) = orders[len - 1].binary_search_by(|other| other.entry.gram.cmp(&shorter)) {
            return sum + natural(orders[len - 1][at].entry.log10_prob);
        }
        if len > 1 {
            shorter[len - 1] = 0;
            if let Ok(at) = orders[len - 2].binary_search_by(|other| other.entry.gram.cmp(&shorter))
            {
                sum += natural(orders[len - 2][at].entry.backoff);
            }
        }
    }
    f64::NEG_INFINITY
}

fn history(pruned: &Pruned, length: usize) -> Gram {
    let mut history = pruned.entry.gram;
    history[length - 1] = 0;
    history
}

fn place(order: &[Pruned], gram: &Gram) -> usize {
    match order.binary_search_by(|other| other.entry.gram.cmp(gram)) {
        Ok(at) | Err(at) => at,
    }
}

fn natural(log10: f32) -> f64 {
    f64::from(log10) * std::f64::consts::LN_10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charset::Charset;
    use crate::language_model::Smoothing;

    const WORDS: [(&str, u64); 6] =
        [("hotel", 5), ("hostel", 2), ("motel", 1), ("tell", 3), ("ee", 1), ("lot", 2)];

    #[test]
    fn pruning_keeps_what_matters() {
        let charset = Charset::english();
        let sequences = || {
            WORDS.into_iter().map(|(word, count)| {
                let symbols: Vec<&str> = word.split("").filter(|part| !part.is_empty()).collect();
                (symbols, count)
            })
        };
        let full = Ngram::estimate_with(Smoothing::Absolute, sequences(), 5).unwrap();
        let total = |model: &Ngram| (1..=5).map(|order| model.count(order)).sum::<usize>();
        let loss = |model: &Ngram| -> f64 {
            -sequences().map(|(word, count)| model.score(word) * count as f64).sum::<f64>()
        };
        let mut losses = vec![loss(&full)];
        for grams in [60, 40, 20] {
            let pruned = full.pruned(sequences(), grams);
            assert!(total(&pruned) <= grams, "{}", total(&pruned));
            losses.push(loss(&pruned));
            // Still a distribution behind every history.
            for history in [&["h"][..], &["h", "o", "t"], &["e", "l"], &["t", "e"]] {
                let prefix = |tokens: &[&str]| -> f64 {
                    (1..=tokens.len()).map(|len| pruned.step(&tokens[..len])).product()
                };
                let mut sum = pruned.score(history).exp() / prefix(history);
                for symbol in charset.symbols() {
                    let longer: Vec<&str> =
                        history.iter().copied().chain([symbol.as_str()]).collect();
                    let known = pruned.vocabulary().contains(symbol);
                    sum += if known { pruned.step(&longer) } else { 0.0 };
                }
                let unknown: Vec<&str> = history.iter().copied().chain(["<unk>"]).collect();
                sum += pruned.step(&unknown);
                assert!((sum - 1.0).abs() < 1e-4, "{grams}, {history:?}: {sum}");
            }
        }
        assert!(losses.is_sorted(), "{losses:?}");
        // The cheapest n-grams go first: a random half would cost far more.
        assert!(losses[1] < 1.15 * losses[0], "{losses:?}");
    }
}
