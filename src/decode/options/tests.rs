use super::super::{Decoder, Search};
use super::*;
use crate::charset::Charset;
use crate::error::{DecoderOptionsError, Error};
use crate::language_model::{CompactNgram, Ngram};

fn beam(decoder: &Decoder) -> &super::super::BeamSearch {
    match &decoder.search {
        Search::Beam(search) => search,
        Search::Greedy => panic!("a greedy decoder"),
    }
}

#[test]
fn texts() {
    let options: DecoderOptions =
        "beam=20; n-best=3;top_mass=0.5; lm_weight=-0;allow= 0=;renormalize=true ;"
            .parse()
            .unwrap_or_else(|error| panic!("{error}"));
    // A value goes on to the next semicolon.
    assert_eq!(options.allow, Some(Symbols::Characters(" 0=".into())));
    assert_eq!((options.beam_width, options.n_best), (Some(20), Some(3)));
    assert_eq!(options.top_mass, Some(0.5));
    let cases = [
        ("colour=red", "colour"),
        ("beam_width=-1", "-1"),
        ("beam_width=", "a whole number"),
        ("top_mass=much", "much"),
        ("lm_words=1", "true or false"),
        ("search=greedier", "greedy, beam, english or latin"),
        ("beam", "beam"),
    ];
    for (text, expected) in cases {
        let error = text.parse::<DecoderOptions>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert_eq!("".parse::<DecoderOptions>().unwrap(), DecoderOptions::default());
    for kind in [SearchKind::Greedy, SearchKind::Beam, SearchKind::English, SearchKind::Latin] {
        assert_eq!(kind.to_string().parse::<SearchKind>().unwrap(), kind);
    }
    for name in DecoderOptions::NAMES {
        let set = |value| DecoderOptions::default().set(name, value);
        assert!(["1", "true", "beam"].into_iter().any(|value| set(value).is_ok()), "{name}");
    }
}

#[test]
fn searches() {
    let charset = Charset::from_characters("ab ").unwrap();
    let build = |text: &str| text.parse::<DecoderOptions>().unwrap().build(&charset);
    for text in ["", "search=greedy", "allow=ab", "n_best=1", "ignore_case=true;renormalize=true"] {
        assert!(matches!(build(text).unwrap().search, Search::Greedy), "{text}");
    }
    for text in ["search=beam", "beam=3", "n_best=2", "top_k=4", "top_mass=1", "blank_skip=1"] {
        assert!(matches!(build(text).unwrap().search, Search::Beam(_)), "{text}");
    }
    assert_eq!(beam(&build("n_best=25").unwrap()).beam_width, 25);
    assert_eq!(beam(&build("n_best=25;beam=5").unwrap()).beam_width, 5);
    let decoder = build("deny=b;renormalize=true").unwrap();
    assert!(decoder.renormalize && !decoder.classes.unwrap().allows(2));
    for (text, expected) in [
        ("search=greedy;beam=3", "beam_width"),
        ("allow=a;deny=b", "allow"),
        ("allow=x", "x"),
        ("beam=0", "beam_width"),
        ("lm_weight=-1", "lm_weight"),
        ("lexicon=/no/such/file", "/no/such/file"),
        ("lm=/no/such/file", "/no/such/file"),
        ("hot_words=/", "/"),
    ] {
        let error = build(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn files_and_lists() {
    let charset = Charset::from_characters("abc").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let words = write("words", "ab\r\n\ncab\nxyz\n".as_bytes());
    let hot = write("hot", b"ab\ncab\t0.5\n");
    let mut options = DecoderOptions {
        lexicon: Some(WordList::File(words)),
        hot_words: Some(HotWordList::File(hot)),
        ..DecoderOptions::default()
    };
    let log_probs =
        super::super::LogProbs::from_logits(4, 4, (0..16).map(|i| (i % 5) as f32).collect())
            .unwrap();
    let decoder = options.build(&charset).unwrap();
    assert_eq!(beam(&decoder).lexicon.as_ref().unwrap().skipped(), ["xyz"]);
    let from_files = decoder.decode(&log_probs).unwrap();
    options.lexicon = Some(WordList::Words(["ab", "cab", "xyz"].map(String::from).into()));
    options.hot_words = Some(HotWordList::Words(vec![("ab".into(), 2.0), ("cab".into(), 0.5)]));
    assert_eq!(options.build(&charset).unwrap().decode(&log_probs).unwrap(), from_files);

    // Either kind of language model.
    let ngram = Ngram::from_words(&charset, &[("ab", 5), ("cab", 1)], 3).unwrap();
    let mut arpa = Vec::new();
    ngram.write_arpa(&mut arpa).unwrap();
    for path in [write("arpa", &arpa), write("compact", &CompactNgram::encode(&ngram).unwrap())] {
        let options = DecoderOptions { lm: Some(path), ..DecoderOptions::default() };
        assert!(beam(&options.build(&charset).unwrap()).language_model.is_some());
    }
    let own = std::sync::Arc::new(CompactNgram::new(&ngram).unwrap());
    for search in [SearchKind::English, SearchKind::Latin] {
        let options = DecoderOptions { search: Some(search), ..DecoderOptions::default() };
        let decoder = options.build_with(&charset, &own).unwrap();
        assert!(beam(&decoder).language_model.is_some() && beam(&decoder).length_bonus == 0.5);
    }

    for (bytes, expected) in [(&b"ab\tmuch\n"[..], "much"), (b"a\xff\n", "UTF-8 at byte 1")] {
        let path = write("wrong", bytes);
        let hot_words = Some(HotWordList::File(path));
        let error = DecoderOptions { hot_words, ..DecoderOptions::default() }.build(&charset);
        let error = error.unwrap_err();
        assert!(matches!(error, Error::DecoderOptions(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let missing = WordList::File(folder.path().join("missing"));
    let error = DecoderOptions { lexicon: Some(missing), ..DecoderOptions::default() };
    match error.build(&charset).unwrap_err() {
        Error::DecoderOptions(DecoderOptionsError::Io { source, .. }) => {
            assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        }
        other => panic!("{other}"),
    }
}

#[cfg(feature = "serde")]
#[test]
fn options_survive_serde() {
    let json = r#"{"search": "beam", "lexicon": ["a", "b"], "hot_words": "file", "allow": "ab",
        "deny": null, "n_best": 3, "renormalize": true}"#;
    let options: DecoderOptions = serde_json::from_str(json).unwrap();
    assert_eq!(options.search, Some(SearchKind::Beam));
    assert_eq!(options.lexicon, Some(WordList::Words(vec!["a".into(), "b".into()])));
    assert_eq!(options.hot_words, Some(HotWordList::File("file".into())));
    assert_eq!(options.allow, Some(Symbols::Characters("ab".into())));
    let again = serde_json::to_string(&options).unwrap();
    assert_eq!(serde_json::from_str::<DecoderOptions>(&again).unwrap(), options);
    assert!(serde_json::from_str::<DecoderOptions>(r#"{"beam_wdith": 3}"#).is_err());
}
