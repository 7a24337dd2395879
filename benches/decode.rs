//! Time of decoding the scores of one crop, by search, charset and what guides it.
//!
//! `cargo bench -p svtrv2-benches --bench decode -- "beam"` picks some.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use svtrv2::Charset;
use svtrv2::decode::{
    BeamSearch, ClassMask, Decoder, ForwardBackward, HotWords, Lexicon, LogProbs, Ngram, SymbolLm,
    confidence,
};

/// Words with some structure, by a linear congruential generator.
fn words(count: usize) -> Vec<String> {
    let mut state = 1u64;
    let mut next = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    const SYLLABLES: [&str; 12] =
        ["ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru", "st", "er"];
    (0..count).map(|_| (0..2 + next(3)).map(|_| SYLLABLES[next(12) as usize]).collect()).collect()
}

/// Emissions of a network that reads a text and is `sure` of it (nats between it and the rest).
fn emissions(steps: usize, classes: usize, text: &[usize], sure: f32) -> LogProbs {
    let mut logits = Vec::with_capacity(steps * classes);
    for step in 0..steps {
        let symbol = step * text.len() / steps;
        let first = step == 0 || (step - 1) * text.len() / steps != symbol;
        let wanted = if first { text[symbol] } else { Charset::BLANK };
        logits.extend((0..classes).map(|class| {
            let noise = (step * classes + class) as f32;
            (noise * 0.37).sin() * 2.0 + if class == wanted { sure } else { 0.0 }
        }));
    }
    LogProbs::from_logits(steps, classes, logits).expect("finite logits")
}

fn english(criterion: &mut Criterion) {
    let charset = Charset::english();
    let words = words(20_000);
    let text = charset.encode("laboratory").expect("letters");
    let counted: Vec<(String, u64)> = words.iter().map(|word| (word.clone(), 1)).collect();
    let ngram = Ngram::from_words(&charset, &counted, 5).expect("words");
    let model = Arc::new(SymbolLm::new(Arc::new(ngram), &charset, false));
    let lexicon = Arc::new(Lexicon::closed(&charset, &words));
    let hot: Vec<(&str, f64)> = words[..50].iter().map(|word| (word.as_str(), 2.0)).collect();
    let hot_words = Arc::new(HotWords::new(&charset, &hot, false).expect("positive bonuses"));
    let beam = BeamSearch::default();
    let unpruned = BeamSearch { top_k: 95, top_mass: 1.0, ..beam.clone() };
    let searches = [
        ("greedy", Decoder::greedy()),
        ("beam 10", Decoder::beam(beam.clone())),
        ("beam 10, not pruned", Decoder::beam(unpruned)),
        ("beam 100", Decoder::beam(BeamSearch { beam_width: 100, ..beam.clone() })),
        ("5-gram", Decoder::beam(BeamSearch { language_model: Some(model), ..beam.clone() })),
        ("lexicon", Decoder::beam(BeamSearch { lexicon: Some(lexicon), ..beam.clone() })),
        ("hot words", Decoder::beam(BeamSearch { hot_words: Some(hot_words), ..beam })),
    ];
    let mut group = criterion.benchmark_group("32x95");
    for (sureness, sure) in [("sure", 9.0), ("unsure", 3.0)] {
        let emissions = emissions(32, 95, &text, sure);
        for (name, decoder) in &searches {
            group.bench_function(BenchmarkId::new(*name, sureness), |bencher| {
                bencher.iter(|| decoder.decode(black_box(&emissions)))
            });
        }
        group.bench_function(BenchmarkId::new("forward-backward", sureness), |bencher| {
            bencher.iter(|| ForwardBackward::new(black_box(&emissions), &text))
        });
    }
}

fn large_charset(criterion: &mut Criterion) {
    let text: Vec<usize> = (1..=30).map(|i| i * 200).collect();
    let emissions = emissions(80, 6625, &text, 12.0);
    let mut group = criterion.benchmark_group("80x6625");
    for (name, decoder) in
        [("greedy", Decoder::greedy()), ("beam 10", Decoder::beam(BeamSearch::default()))]
    {
        group
            .bench_function(name, |bencher| bencher.iter(|| decoder.decode(black_box(&emissions))));
    }
}

/// A line of 40 frames over the symbols of 50 languages.
fn multilingual(criterion: &mut Criterion) {
    let symbols: Vec<String> =
        (0x4e00..).filter_map(char::from_u32).take(18_709).map(String::from).collect();
    let charset = Charset::new(symbols.iter().map(String::as_str)).expect("different symbols");
    let text: Vec<usize> = (1..=18).map(|i| i * 900).collect();
    let spell = |text: &[usize]| -> String {
        text.iter().filter_map(|&class| charset.symbol(class)).collect()
    };
    let mut words: Vec<String> = (0..5000)
        .map(|i| spell(&[0, 1, 2, 3, 4, 5].map(|j| 1 + (i * 7 + j * 1013) % 18_709)))
        .collect();
    words.push(spell(&text));
    let counted: Vec<(&str, u64)> = words.iter().map(|word| (word.as_str(), 1)).collect();
    let ngram = Ngram::from_words(&charset, &counted, 3).expect("words");
    let model = Arc::new(SymbolLm::new(Arc::new(ngram), &charset, false));
    let lexicon = Arc::new(Lexicon::closed(&charset, &words));
    let beam = BeamSearch::default();
    let mut masked = Decoder::beam(beam.clone());
    masked.classes = Some(ClassMask::deny(&charset, &symbols[..5]).expect("symbols"));
    let searches = [
        ("greedy", Decoder::greedy()),
        ("beam 10", Decoder::beam(beam.clone())),
        ("3-gram", Decoder::beam(BeamSearch { language_model: Some(model), ..beam.clone() })),
        ("lexicon", Decoder::beam(BeamSearch { lexicon: Some(lexicon), ..beam })),
        ("mask", masked),
    ];
    let mut group = criterion.benchmark_group("40x18710");
    for (sureness, sure) in [("sure", 14.0), ("unsure", 9.0)] {
        let emissions = emissions(40, 18_710, &text, sure);
        for (name, decoder) in &searches {
            group.bench_function(BenchmarkId::new(*name, sureness), |bencher| {
                bencher.iter(|| decoder.decode(black_box(&emissions)))
            });
        }
        group.bench_function(BenchmarkId::new("confidence", sureness), |bencher| {
            bencher.iter(|| confidence(black_box(&emissions), &text, 1.3))
        });
    }
}

criterion_group!(benches, english, large_charset, multilingual);
criterion_main!(benches);
