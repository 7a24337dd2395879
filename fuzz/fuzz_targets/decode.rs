//! Emissions, and every option of a decoder.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use svtrv2::Charset;
use svtrv2::decode::{
    BeamSearch, ClassMask, Decoder, ForwardBackward, HotWords, Lexicon, LogProbs, Ngram, SymbolLm,
    best_alignment, confidence,
};
use svtrv2_fuzz::{Bytes, MB, within};

fuzz_target!(|bytes: &[u8]| {
    within(64 * MB, || {
        let mut input = Bytes(bytes);
        let _ = run(&mut input);
    });
});

fn run(input: &mut Bytes) -> svtrv2::Result<()> {
    let charset = Charset::from_characters(["ab", "abAB "][input.below(2)])?;
    // Beams of any width hold all prefixes: few frames, so that searches are many.
    let (frames, classes) = (input.below(5), charset.classes());
    let values: Vec<f32> = (0..frames * classes).map(|_| input.f32()).collect();
    let log_probs = match input.below(4) {
        0 => LogProbs::from_probabilities(frames, classes, values)?,
        1 => LogProbs::from_log_probabilities(frames, classes, values)?,
        2 => LogProbs::from_logits(input.usize(), input.usize(), values)?,
        _ => LogProbs::from_logits(frames, classes, values)?,
    };
    let mut search = BeamSearch::default();
    let switches = input.byte();
    if switches & 1 != 0 {
        search.beam_width = input.usize();
        search.n_best = input.usize();
        search.top_k = input.usize();
    }
    if switches & 2 != 0 {
        search.top_mass = input.f32();
        search.blank_skip = input.f32();
        search.lm_weight = f64::from(input.f32());
        search.length_bonus = f64::from(input.f32());
    }
    let words: Vec<String> = (0..input.below(5)).map(|_| input.text(6)).collect();
    let ignore_case = input.byte() & 1 != 0;
    if switches & 4 != 0 {
        let penalty = (input.byte() & 1 != 0).then(|| f64::from(input.f32()));
        search.lexicon = Some(Arc::new(Lexicon::new(&charset, &words, penalty, ignore_case)?));
    }
    if switches & 8 != 0 {
        let words: Vec<(&String, f64)> =
            words.iter().map(|word| (word, f64::from(input.f32()))).collect();
        search.hot_words = Some(Arc::new(HotWords::new(&charset, &words, ignore_case)?));
    }
    if switches & 16 != 0 {
        let words: Vec<(&String, u64)> = words.iter().map(|word| (word, input.u64())).collect();
        let ngram = Ngram::from_words(&charset, &words, 1 + input.below(3))?;
        search.language_model =
            Some(Arc::new(SymbolLm::new(Arc::new(ngram), &charset, ignore_case)));
    }
    let mut decoder = if switches & 32 != 0 { Decoder::greedy() } else { Decoder::beam(search) };
    if switches & 64 != 0 {
        let symbols: Vec<String> = input.text(3).chars().map(String::from).collect();
        decoder.classes = Some(if input.byte() & 1 != 0 {
            ClassMask::allow(&charset, symbols)?
        } else {
            ClassMask::deny(&charset, symbols)?
        });
    }
    decoder.renormalize = switches & 128 != 0;
    decoder.check_charset(&charset)?;
    // Logits may be read as rows of another length than the charset's.
    let classes = log_probs.classes();
    // The probabilities of a frame may sum to 1.01.
    let most = 1e-6 + 1e-2 * log_probs.frames() as f64;
    for hypothesis in decoder.decode(&log_probs)? {
        assert!(!hypothesis.score.is_nan() && hypothesis.log_prob <= most, "{hypothesis:?}");
        assert!(hypothesis.text.iter().all(|&class| (1..classes).contains(&class)));
        if let Some(spans) = best_alignment(&log_probs, &hypothesis.text) {
            assert_eq!(spans.len(), hypothesis.text.len());
        }
        if let Some(sums) = ForwardBackward::new(&log_probs, &hypothesis.text) {
            for symbol in 0..hypothesis.text.len() {
                let posterior = sums.posterior(symbol).unwrap_or(0.0);
                assert!((0.0..=1.0).contains(&posterior), "{posterior}");
            }
        }
        let confidence = confidence(&log_probs, &hypothesis.text, input.f32())?;
        assert!((0.0..=1.0).contains(&confidence), "{confidence}");
    }
    Ok(())
}
