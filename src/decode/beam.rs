//! Prefix beam search (Graves and Jaitly, 2014; Hannun et al., 2014): the most probable texts, each
//! with the probability of its alignments summed, among the best few beginnings at every frame.

use std::cmp::Ordering;
use std::sync::Arc;

use super::ctc::log_add;
use super::hot_words::HotWords;
use super::lexicon::{Lexicon, LexiconState};
use super::{LanguageModel, LmState, LogProbs};
use crate::charset::Charset;

const IMPOSSIBLE: f64 = f64::NEG_INFINITY;

/// A prefix beam search and what guides it. Start from the default and change what differs.
///
/// A text is ranked by its score
///
/// ```text
///   ln p(text | log_probs)                               summed over its alignments in the beam
/// + lm_weight * ln p(text | language model)           its end included
/// + length_bonus * symbols
/// + bonus of every hot word in it
/// - penalty of every word outside an open lexicon
/// ```
///
/// With `beam_width` and `top_k` beyond what the log-probabilities hold, `top_mass` and `blank_skip` at 1, the
/// search is exact.
///
/// ```
/// use svtrv2::decode::{BeamSearch, LogProbs, greedy};
///
/// // The most probable path is all blank (0.6 * 0.6), the most probable text "a" (0.64).
/// let log_probs = LogProbs::from_probabilities(2, 2, vec![0.6, 0.4, 0.6, 0.4])?;
/// assert!(greedy(&log_probs).symbols.is_empty());
/// let best = &BeamSearch::default().search(&log_probs)[0];
/// assert_eq!(best.text, [1]);
/// assert!((best.log_prob.exp() - 0.64).abs() < 1e-6);
/// # Ok::<(), svtrv2::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct BeamSearch {
    /// Beginnings of texts that are kept at every frame, at least 1.
    pub beam_width: usize,
    /// Texts that are returned at the most.
    pub n_best: usize,
    /// Classes that are looked at in a frame at the most, the most probable ones; the blank is not
    /// counted.
    pub top_k: usize,
    /// The most probable classes of a frame are looked at until their probabilities, with the
    /// blank's, sum to this (0..=1).
    pub top_mass: f32,
    /// A frame whose blank has more than this probability (0..=1) is taken for a blank; 1 switches
    /// that off.
    pub blank_skip: f32,
    /// Judges the texts.
    pub language_model: Option<Arc<dyn LanguageModel>>,
    /// The weight of the language model's log-probability, at least 0.
    pub lm_weight: f64,
    /// Added for every symbol of a text: a language model alone prefers short texts.
    pub length_bonus: f64,
    /// The words that a text may consist of, or should.
    pub lexicon: Option<Arc<Lexicon>>,
    /// Words that are expected.
    pub hot_words: Option<Arc<HotWords>>,
}

impl Default for BeamSearch {
    /// Ten beginnings, one result, at most 40 classes a frame that hold 0.9999 of it, no language
    /// model (whose weight would be 0.15), no lexicon, no hot words.
    fn default() -> Self {
        BeamSearch {
            beam_width: 10,
            n_best: 1,
            top_k: 40,
            top_mass: 0.9999,
            blank_skip: 1.0,
            language_model: None,
            lm_weight: 0.15,
            length_bonus: 0.0,
            lexicon: None,
            hot_words: None,
        }
    }
}

/// A text that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// The classes of its symbols, none of them the blank.
    pub text: Vec<usize>,
    /// The natural-log probability of the text: of all alignments (greedy decoding), or of those
    /// that stayed in the beam (beam search).
    pub log_prob: f64,
    /// What the texts are ranked by: `log_prob` and what else guided the search.
    pub score: f64,
}

/// An index of a node or a place in the beam that there is not.
const NONE: u32 = u32::MAX;

/// A beginning of a text, in the tree of all that were in the beam. Node 0 is the empty one.
#[derive(Debug, Clone)]
struct Node {
    parent: u32,
    first_child: u32,
    next_sibling: u32,
    /// Its place in the beam.
    slot: u32,
    class: u32,
    guide: Guide,
}

/// What guides the search says of a beginning.
#[derive(Debug, Clone, Copy)]
struct Guide {
    /// What is added to the log-probability.
    bonus: f64,
    lm: LmState,
    lexicon: LexiconState,
    hot: u32,
}

/// A beginning in the beam, with the log-probabilities of its alignments so far.
#[derive(Debug, Clone, Copy)]
struct Entry {
    node: u32,
    /// Of those that end in a blank.
    blank: f64,
    /// Of those that end in its last symbol.
    symbol: f64,
}

impl Entry {
    fn total(&self) -> f64 {
        log_add(self.blank, self.symbol)
    }
}

/// What may be in the beam after a frame: a beginning that was, or one symbol more.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    key: f64,
    blank: f64,
    symbol: f64,
    /// The node, or that of the beginning before the new symbol.
    node: u32,
    /// The new symbol and what is said of it.
    added: Option<(u32, Guide)>,
}

impl Candidate {
    /// The better one first; no two are equal, so that the order never depends on how it is made.
    fn order(a: &Candidate, b: &Candidate) -> Ordering {
        let name = |c: &Candidate| (c.node, c.added.map(|(class, _)| class));
        b.key.total_cmp(&a.key).then_with(|| name(a).cmp(&name(b)))
    }
}

/// Memory that the frames share.
#[derive(Default)]
struct Scratch {
    classes: Vec<(u32, f32)>,
    candidates: Vec<Candidate>,
    /// Beginnings in the beam whose own beginning is there too: place of the latter, last class.
    children: Vec<(u32, u32)>,
}

impl BeamSearch {
    /// The best texts, best first; of equal ones the one that was found first.
    ///
    /// There is none if no text fits: of a closed lexicon every word may be too long for the
    /// log-probabilities, or restricted log-probabilities may permit nothing. As long as no word of a closed lexicon is
    /// complete, the search is repeated with a wider beam.
    pub fn search(&self, log_probs: &LogProbs) -> Vec<Hypothesis> {
        let mut found =
            self.search_once(log_probs, self.beam_width.max(1), self.top_k, self.top_mass);
        let Some(lexicon) = self.lexicon.as_ref().filter(|lexicon| lexicon.is_closed()) else {
            return found;
        };
        // A beam that holds every beginning of every word has found all that there is.
        let most = lexicon.beginnings().saturating_mul(log_probs.frames().max(1));
        let mut width = self.beam_width.max(1);
        while found.is_empty() && width < most {
            width = width.saturating_mul(8);
            found = self.search_once(log_probs, width, usize::MAX, 1.0);
        }
        found
    }

    fn search_once(
        &self,
        log_probs: &LogProbs,
        width: usize,
        top_k: usize,
        top_mass: f32,
    ) -> Vec<Hypothesis> {
        let skip_above = if self.blank_skip < 1.0 { self.blank_skip.ln() } else { f32::INFINITY };
        let root = Node {
            parent: NONE,
            first_child: NONE,
            next_sibling: NONE,
            slot: 0,
            class: 0,
            guide: Guide {
                bonus: 0.0,
                lm: self.language_model.as_ref().map(|lm| lm.start()).unwrap_or_default(),
                lexicon: LexiconState::default(),
                hot: 0,
            },
        };
        let mut nodes = vec![root];
        let mut beam = vec![Entry { node: 0, blank: 0.0, symbol: IMPOSSIBLE }];
        let mut scratch = Scratch::default();
        for row in log_probs.iter() {
            let blank = row[Charset::BLANK];
            if blank > skip_above {
                for entry in &mut beam {
                    entry.blank = entry.total() + f64::from(blank);
                    entry.symbol = IMPOSSIBLE;
                }
                continue;
            }
            probable_classes(row, top_k, top_mass, &mut scratch.classes);
            self.frame(row, width, &mut nodes, &mut beam, &mut scratch);
        }
        self.hypotheses(&nodes, &beam)
    }

    /// From the beam before a frame to the one behind it.
    fn frame(
        &self,
        row: &[f32],
        width: usize,
        nodes: &mut Vec<Node>,
        beam: &mut Vec<Entry>,
        scratch: &mut Scratch,
    ) {
        let Scratch { classes, candidates, children } = scratch;
        candidates.clear();
        children.clear();
        let blank = f64::from(row[Charset::BLANK]);
        // The beginnings that were: one more blank, the last symbol once more, or the last symbol
        // for the first time behind a beginning that is in the beam too.
        for entry in beam.iter() {
            let node = &nodes[entry.node as usize];
            let mut symbol = IMPOSSIBLE;
            if node.parent != NONE {
                let own = f64::from(row[node.class as usize]);
                symbol = entry.symbol + own;
                let parent = &nodes[node.parent as usize];
                if let Some(before) = beam.get(parent.slot as usize) {
                    let doubled = parent.class == node.class;
                    let from = if doubled { before.blank } else { before.total() };
                    symbol = log_add(symbol, from + own);
                    children.push((parent.slot, node.class));
                }
            }
            let blank = entry.total() + blank;
            let key = log_add(blank, symbol) + node.guide.bonus;
            candidates.push(Candidate { key, blank, symbol, node: entry.node, added: None });
        }
        // Nothing worse than the worst of a full beam can enter it.
        let floor = if beam.len() >= width {
            candidates.iter().map(|c| c.key).fold(f64::INFINITY, f64::min)
        } else {
            IMPOSSIBLE
        };
        let largest_gain = self.largest_gain();
        for (slot, entry) in beam.iter().enumerate() {
            let (node, total) = (&nodes[entry.node as usize], entry.total());
            let with_children = children.iter().any(|child| child.0 as usize == slot);
            for &(class, log_prob) in classes.iter() {
                let reachable = total + f64::from(log_prob) + node.guide.bonus + largest_gain;
                if reachable <= floor {
                    break;
                }
                if with_children && children.contains(&(slot as u32, class)) {
                    continue;
                }
                let from = if class == node.class { entry.blank } else { total };
                let symbol = from + f64::from(log_prob);
                if symbol == IMPOSSIBLE {
                    continue;
                }
                let Some(guide) = self.extend(&node.guide, class as usize) else {
                    continue;
                };
                let key = symbol + guide.bonus;
                if key > floor {
                    let added = Some((class, guide));
                    let blank = IMPOSSIBLE;
                    candidates.push(Candidate { key, blank, symbol, node: entry.node, added });
                }
            }
        }
        candidates.retain(|candidate| candidate.key > IMPOSSIBLE);
        if candidates.len() > width {
            candidates.select_nth_unstable_by(width, Candidate::order);
            candidates.truncate(width);
        }
        candidates.sort_unstable_by(Candidate::order);
        for entry in beam.drain(..) {
            nodes[entry.node as usize].slot = NONE;
        }
        for (slot, candidate) in candidates.iter().enumerate() {
            let &Candidate { blank, symbol, mut node, added, .. } = candidate;
            if let Some((class, guide)) = added {
                node = child(nodes, node, class, guide);
            }
            nodes[node as usize].slot = slot as u32;
            beam.push(Entry { node, blank, symbol });
        }
    }

    /// The most that a symbol can add to a beginning's score besides its own log-probability.
    fn largest_gain(&self) -> f64 {
        let hot = self.hot_words.as_ref().map_or(0.0, |words| words.largest_gain());
        self.length_bonus.max(0.0) + hot
    }

    /// What is said of a beginning with one symbol more; `None` if a lexicon forbids it.
    fn extend(&self, guide: &Guide, class: usize) -> Option<Guide> {
        let mut next = *guide;
        next.bonus += self.length_bonus;
        if let Some(lexicon) = &self.lexicon {
            let (bonus, state) = lexicon.advance(guide.lexicon, class)?;
            next.bonus += bonus;
            next.lexicon = state;
        }
        if let Some(words) = &self.hot_words {
            let (bonus, state) = words.advance(guide.hot, class);
            next.bonus += bonus;
            next.hot = state;
        }
        if let Some(model) = &self.language_model {
            let (log_prob, state) = model.advance(guide.lm, class);
            next.bonus += self.lm_weight * log_prob;
            next.lm = state;
        }
        Some(next)
    }

    /// What the end of a text adds to its score; `None` if a lexicon forbids to end here.
    fn finish(&self, guide: &Guide) -> Option<f64> {
        let mut bonus = 0.0;
        if let Some(lexicon) = &self.lexicon {
            bonus += lexicon.finish(guide.lexicon)?;
        }
        if let Some(words) = &self.hot_words {
            bonus += words.finish(guide.hot);
        }
        if let Some(model) = &self.language_model {
            bonus += self.lm_weight * model.finish(guide.lm);
        }
        Some(bonus)
    }

    fn hypotheses(&self, nodes: &[Node], beam: &[Entry]) -> Vec<Hypothesis> {
        let mut ends: Vec<(f64, &Entry)> = beam
            .iter()
            .filter_map(|entry| {
                let guide = &nodes[entry.node as usize].guide;
                Some((entry.total() + guide.bonus + self.finish(guide)?, entry))
            })
            .collect();
        ends.sort_by(|a, b| b.0.total_cmp(&a.0));
        let text = |mut node: u32| {
            let mut text = Vec::new();
            while nodes[node as usize].parent != NONE {
                text.push(nodes[node as usize].class as usize);
                node = nodes[node as usize].parent;
            }
            text.reverse();
            text
        };
        ends.into_iter()
            .take(self.n_best)
            .map(|(score, entry)| {
                let log_prob = entry.total();
                Hypothesis { text: text(entry.node), log_prob, score }
            })
            .collect()
    }
}

/// The node of a beginning and one symbol more: the one that is there, or a new one.
fn child(nodes: &mut Vec<Node>, parent: u32, class: u32, guide: Guide) -> u32 {
    let mut next = nodes[parent as usize].first_child;
    while let Some(node) = nodes.get(next as usize) {
        if node.class == class {
            return next;
        }
        next = node.next_sibling;
    }
    let index = nodes.len() as u32;
    let next_sibling = std::mem::replace(&mut nodes[parent as usize].first_child, index);
    nodes.push(Node { parent, first_child: NONE, next_sibling, slot: NONE, class, guide });
    index
}

/// The most probable classes of a frame but the blank, best first, of equal ones the first: at most
/// `count`, and no more than it takes to reach `mass` together with the blank.
fn probable_classes(row: &[f32], count: usize, mass: f32, best: &mut Vec<(u32, f32)>) {
    const CHUNK: usize = 16;
    best.clear();
    let count = count.min(row.len() - 1);
    if count == 0 {
        return;
    }
    // A class below this is not among those that hold the mass: the others hold more without it.
    let rest = 1.0 - f64::from(mass);
    let mut floor =
        if rest > 0.0 { (rest / row.len() as f64).ln() as f32 } else { f32::NEG_INFINITY };
    let better = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    for (chunk, values) in row.chunks(CHUNK).enumerate() {
        if values.iter().fold(f32::NEG_INFINITY, |max, &v| if v > max { v } else { max }) <= floor {
            continue;
        }
        for (class, &value) in (chunk * CHUNK..).zip(values) {
            if value > floor && class != Charset::BLANK {
                best.push((class as u32, value));
            }
        }
        if best.len() >= count.saturating_mul(2).max(count + CHUNK) {
            best.select_nth_unstable_by(count - 1, better);
            best.truncate(count);
            floor = best[count - 1].1.max(floor);
        }
    }
    best.sort_unstable_by(better);
    best.truncate(count);
    if rest > 0.0 {
        let mut sum = row[Charset::BLANK].exp();
        let needed = best.iter().position(|&(_, value)| {
            let enough = sum >= mass;
            sum += value.exp();
            enough
        });
        best.truncate(needed.unwrap_or(best.len()));
    }
}
