//! What constrains a search: lexicons in which hardly a word fits, wrong numbers, other charsets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::charset::Charset;
use crate::error::{CharsetError, Error, LanguageModelError};

/// A language model that counts how often it is asked, and gives every symbol the same.
#[derive(Debug, Default)]
struct Counting {
    calls: AtomicUsize,
    log_prob: f64,
}

impl LanguageModel for Counting {
    fn start(&self) -> LmState {
        LmState::default()
    }

    fn advance(&self, state: LmState, _: usize) -> (f64, LmState) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        (self.log_prob, state)
    }

    fn finish(&self, _: LmState) -> f64 {
        self.log_prob
    }
}

/// All classes equally probable at every frame.
fn flat(frames: usize, classes: usize) -> LogProbs {
    LogProbs::from_logits(frames, classes, vec![0.0; frames * classes]).unwrap()
}

/// Different words of the letters a to w.
fn words(count: usize, length: impl Fn(usize) -> usize) -> Vec<String> {
    let letter = |word: usize, place: usize| {
        let mixed = (word + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (2 * place);
        char::from(b'a' + ((mixed ^ word.wrapping_mul(place + 1)) % 23) as u8)
    };
    (0..count).map(|word| (0..length(word)).map(|place| letter(word, place)).collect()).collect()
}

fn closed(charset: &Charset, words: &[String]) -> (BeamSearch, Arc<Counting>) {
    let model = Arc::new(Counting::default());
    let search = BeamSearch {
        lexicon: Some(Arc::new(Lexicon::closed(charset, words))),
        language_model: Some(model.clone()),
        ..BeamSearch::default()
    };
    (search, model)
}

#[test]
fn a_lexicon_in_which_no_word_fits_costs_nothing() {
    let charset = Charset::english();
    let too_long = words(20_000, |word| 17 + word % 9);
    let (search, model) = closed(&charset, &too_long);
    assert!(search.search(&flat(16, 95)).unwrap().is_empty());
    assert_eq!(model.calls.load(Ordering::Relaxed), 0);

    let denied: Vec<String> =
        words(20_000, |word| 3 + word % 9).iter().map(|w| w.clone() + "z").collect();
    let (search, model) = closed(&charset, &denied);
    let mut decoder = Decoder::beam(search);
    decoder.classes = Some(ClassMask::deny(&charset, ["z"]).unwrap());
    for renormalize in [false, true] {
        decoder.renormalize = renormalize;
        assert!(decoder.decode(&flat(16, 95)).unwrap().is_empty());
    }
    assert_eq!(model.calls.load(Ordering::Relaxed), 0);
    // The same lexicon without the mask.
    decoder.classes = None;
    assert_eq!(decoder.decode(&flat(16, 95)).unwrap().len(), 1);
}

#[test]
fn the_only_word_that_fits_is_found() {
    let charset = Charset::english();
    let mut list = words(20_000, |word| 17 + word % 9);
    list.push("zebracrossing".into());
    let (search, model) = closed(&charset, &list);
    let found = search.search(&flat(16, 95)).unwrap();
    let text = charset.encode("zebracrossing").unwrap();
    assert_eq!(found.iter().map(|f| f.text.clone()).collect::<Vec<_>>(), [text]);
    // At the most every class behind every prefix of the beam, in two passes.
    assert!(model.calls.load(Ordering::Relaxed) <= 2 * 16 * 10 * 95);
}

#[test]
fn doubled_letters_take_a_blank() {
    let charset = Charset::from_characters("aAb").unwrap();
    let fits = |words: &[&str], ignore_case, frames| {
        let lexicon = Lexicon::new(&charset, words, None, ignore_case).unwrap();
        let search = BeamSearch { lexicon: Some(Arc::new(lexicon)), ..BeamSearch::default() };
        !search.search(&flat(frames, 4)).unwrap().is_empty()
    };
    assert!(!fits(&["aa"], false, 2) && fits(&["aa"], false, 3));
    assert!(!fits(&["abba"], false, 4) && fits(&["abba"], false, 5));
    // "aA" needs no blank.
    assert!(fits(&["aa"], true, 2));
    assert!(!fits(&[], false, 9) && fits(&[""], false, 0));
}

#[test]
fn symbols_that_are_impossible_at_single_frames() {
    // a is possible at frame 0 only, b at frame 1 only: a beam of one loses the a.
    let charset = Charset::from_characters("ab").unwrap();
    let values = vec![0.5, 0.5, 0.0, 0.5, 0.0, 0.5, 1.0, 0.0, 0.0];
    let log_probs = LogProbs::from_probabilities(3, 3, values).unwrap();
    let search = |words: &[&str], width| {
        let lexicon = Some(Arc::new(Lexicon::closed(&charset, words)));
        let search = BeamSearch { lexicon, beam_width: width, ..BeamSearch::default() };
        search.search(&log_probs).unwrap().first().map(|found| found.text.clone())
    };
    assert_eq!(search(&["ab"], 1), Some(vec![1, 2]));
    assert_eq!(search(&["ba", "bab"], 10), None);
    assert_eq!(search(&["ba", "b"], 1), Some(vec![2]));
}

#[test]
fn numbers_out_of_range() {
    type Change = fn(&mut BeamSearch);
    let wrong: [(&str, Change); 12] = [
        ("beam_width", |s| s.beam_width = 0),
        ("n_best", |s| s.n_best = 0),
        ("top_k", |s| s.top_k = 0),
        ("top_mass", |s| s.top_mass = f32::NAN),
        ("top_mass", |s| s.top_mass = 1.5),
        ("blank_skip", |s| s.blank_skip = -0.5),
        ("blank_skip", |s| s.blank_skip = f32::NAN),
        ("lm_weight", |s| s.lm_weight = -0.1),
        ("lm_weight", |s| s.lm_weight = f64::NAN),
        ("lm_weight", |s| s.lm_weight = f64::INFINITY),
        ("length_bonus", |s| s.length_bonus = f64::NAN),
        ("length_bonus", |s| s.length_bonus = f64::NEG_INFINITY),
    ];
    for (field, change) in wrong {
        let mut search = BeamSearch::default();
        change(&mut search);
        for error in [
            search.search(&flat(2, 3)).unwrap_err(),
            Decoder::beam(search.clone()).decode(&flat(2, 3)).unwrap_err(),
            Decoder::beam(search).check_charset(&Charset::english()).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Config(ref e) if e.field == field), "{field}: {error}");
        }
    }
}

#[test]
fn models_that_give_no_log_probabilities() {
    for log_prob in [f64::NAN, f64::INFINITY, 0.5] {
        let model = Arc::new(Counting { log_prob, ..Counting::default() });
        let mut search =
            BeamSearch { language_model: Some(model.clone()), ..BeamSearch::default() };
        let error = search.search(&flat(2, 3)).unwrap_err();
        assert!(matches!(error, Error::LanguageModel(LanguageModelError::Score { .. })), "{error}");
        // A model of weight 0 is none.
        search.lm_weight = 0.0;
        let calls = model.calls.load(Ordering::Relaxed);
        let without = BeamSearch::default().search(&flat(2, 3)).unwrap();
        assert_eq!(search.search(&flat(2, 3)).unwrap(), without);
        assert_eq!(model.calls.load(Ordering::Relaxed), calls);
    }
    // A model may exclude everything.
    let log_prob = f64::NEG_INFINITY;
    let model = Arc::new(Counting { log_prob, ..Counting::default() });
    let search = BeamSearch { language_model: Some(model), ..BeamSearch::default() };
    assert!(search.search(&flat(2, 3)).unwrap().is_empty());
}

#[test]
fn guides_of_another_charset() {
    let (own, other) =
        (Charset::from_characters("ab").unwrap(), Charset::from_characters("ba").unwrap());
    let constrained = |charset: &Charset| {
        let ngram = Arc::new(Ngram::from_words(charset, &[("ab", 1)], 2).unwrap());
        let hot = HotWords::new(charset, &[("ab", 1.0)], false).unwrap();
        let beam = BeamSearch::default;
        let mut masked = Decoder::greedy();
        masked.classes = Some(ClassMask::allow(charset, ["a"]).unwrap());
        let lexicon = Some(Arc::new(Lexicon::closed(charset, &["ab"])));
        let language_model: Option<Arc<dyn LanguageModel>> =
            Some(Arc::new(SymbolLm::new(ngram, charset, false)));
        [
            ("class mask", masked),
            ("lexicon", Decoder::beam(BeamSearch { lexicon, ..beam() })),
            ("hot words", Decoder::beam(BeamSearch { hot_words: Some(hot.into()), ..beam() })),
            ("language model", Decoder::beam(BeamSearch { language_model, ..beam() })),
        ]
    };
    for (name, decoder) in constrained(&own) {
        decoder.check_charset(&own).unwrap();
        decoder.decode(&flat(3, 3)).unwrap();
        let error = decoder.check_charset(&other).unwrap_err();
        let Error::Charset(CharsetError::Constraint { constraint, constraint_charset, charset }) =
            error
        else {
            panic!("{name}: {error}");
        };
        assert_eq!((constraint, constraint_charset), (name, own.fingerprint()));
        assert_eq!(charset, other.fingerprint());
    }
    // Guides of two charsets, and of another number of classes.
    let [(_, mut mixed), (_, lexicon), ..] = constrained(&own);
    mixed.search = lexicon.search.clone();
    assert!(mixed.decode(&flat(3, 3)).is_ok());
    mixed.classes = Some(ClassMask::allow(&other, ["a"]).unwrap());
    assert!(matches!(
        mixed.decode(&flat(3, 3)),
        Err(Error::Charset(CharsetError::Constraint { .. }))
    ));
    let error = lexicon.decode(&flat(3, 4)).unwrap_err();
    assert!(matches!(error, Error::Charset(CharsetError::ClassCount { .. })), "{error}");
}
