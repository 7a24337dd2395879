//! One frame of a search: the prefixes of the beam, and what constraints them.

use super::super::ctc::{IMPOSSIBLE, log_add};
use super::super::emitted::Row;
use super::prefix::{Candidate, ConstraintState, Entry, NONE, Node, Scratch, child};
use super::{BeamSearch, Pass};
use crate::charset::Charset;
use crate::error::LanguageModelError;
use crate::language_model::LanguageModel;

impl BeamSearch {
    /// One frame: from the beam before it to the beam after it. `frames_left` are behind it.
    pub(super) fn advance(
        &self,
        row: &Row,
        pass: &Pass,
        frames_left: usize,
        nodes: &mut Vec<Node>,
        beam: &mut Vec<Entry>,
        scratch: &mut Scratch,
    ) -> Result<(), LanguageModelError> {
        let width = pass.width;
        // A prefix of a closed lexicon must be able to become a word in the frames that are left.
        let can_end = |constraint: &ConstraintState, blank: f64| {
            pass.frames_to_end.is_none_or(|needed| {
                needed.after(constraint.lexicon, blank > IMPOSSIBLE) <= frames_left
            })
        };
        let Scratch { classes, candidates, children } = scratch;
        candidates.clear();
        children.clear();
        let blank = f64::from(row.at(Charset::BLANK));
        // The prefixes of the beam: one more blank, the last symbol once more, or the last symbol
        // for the first time behind a prefix that is in the beam too.
        for entry in beam.iter() {
            let node = &nodes[entry.node as usize];
            let mut symbol = IMPOSSIBLE;
            if node.parent != NONE {
                let own = f64::from(row.at(node.class as usize));
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
            let key = log_add(blank, symbol) + node.constraint.bonus;
            if can_end(&node.constraint, blank) {
                candidates.push(Candidate { key, blank, symbol, node: entry.node, added: None });
            }
        }
        // Nothing worse than the worst of a full beam can enter it.
        let floor = if candidates.len() >= width {
            candidates.iter().map(|c| c.key).fold(f64::INFINITY, f64::min)
        } else {
            IMPOSSIBLE
        };
        let largest_gain = self.largest_gain();
        for (slot, entry) in beam.iter().enumerate() {
            let (node, total) = (&nodes[entry.node as usize], entry.total());
            let with_children = children.iter().any(|child| child.0 as usize == slot);
            for &(class, log_prob) in classes.iter() {
                let reachable = total + f64::from(log_prob) + node.constraint.bonus + largest_gain;
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
                let Some(constraint) = self.extend(&node.constraint, class as usize)? else {
                    continue;
                };
                let key = symbol + constraint.bonus;
                if key > floor && can_end(&constraint, IMPOSSIBLE) {
                    let added = Some((class, constraint));
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
            if let Some((class, constraint)) = added {
                node = child(nodes, node, class, constraint);
            }
            nodes[node as usize].slot = slot as u32;
            beam.push(Entry { node, blank, symbol });
        }
        Ok(())
    }

    /// The most that a symbol can add to a prefix's score besides its own log-probability.
    fn largest_gain(&self) -> f64 {
        let hot = self.hot_words.as_ref().map_or(0.0, |words| words.largest_gain());
        self.length_bonus.max(0.0) + hot
    }

    /// The constraints after one symbol more; `None` if a lexicon forbids it.
    fn extend(
        &self,
        constraint: &ConstraintState,
        class: usize,
    ) -> Result<Option<ConstraintState>, LanguageModelError> {
        let mut next = *constraint;
        next.bonus += self.length_bonus;
        if let Some(lexicon) = &self.lexicon {
            let Some((bonus, state)) = lexicon.advance(constraint.lexicon, class) else {
                return Ok(None);
            };
            next.bonus += bonus;
            next.lexicon = state;
        }
        if let Some(words) = &self.hot_words {
            let (bonus, state) = words.advance(constraint.hot, class);
            next.bonus += bonus;
            next.hot = state;
        }
        if let Some(model) = self.weighted_model() {
            let (log_prob, state) = model.advance(constraint.lm, class);
            next.bonus += self.lm_weight * checked(log_prob)?;
            next.lm = state;
        }
        Ok(Some(next))
    }

    /// What the end of a text adds to its score; `None` if a lexicon forbids to end here.
    pub(super) fn finish(
        &self,
        constraint: &ConstraintState,
    ) -> Result<Option<f64>, LanguageModelError> {
        let mut bonus = 0.0;
        if let Some(lexicon) = &self.lexicon {
            let Some(added) = lexicon.finish(constraint.lexicon) else {
                return Ok(None);
            };
            bonus += added;
        }
        if let Some(words) = &self.hot_words {
            bonus += words.finish(constraint.hot);
        }
        if let Some(model) = self.weighted_model() {
            bonus += self.lm_weight * checked(model.finish(constraint.lm))?;
        }
        Ok(Some(bonus))
    }

    /// The language model, unless its weight is 0.
    pub(super) fn weighted_model(&self) -> Option<&dyn LanguageModel> {
        self.language_model.as_deref().filter(|_| self.lm_weight > 0.0)
    }
}

/// A log-probability of a language model; an error if it is NaN or above 0.
fn checked(log_prob: f64) -> Result<f64, LanguageModelError> {
    if log_prob <= 0.0 { Ok(log_prob) } else { Err(LanguageModelError::Score { log_prob }) }
}
