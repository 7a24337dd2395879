use super::*;

fn synthesizer(options: SynthOptions) -> Synthesizer {
    let fonts = Fonts::system_where(|name| name.starts_with("DejaVu"));
    let fonts = fonts.expect("these tests need DejaVu: package fonts-dejavu-core");
    let texts = Texts::random("Hamburgefonts 123", 1..=12).unwrap();
    Synthesizer::new(fonts, texts, options).unwrap()
}

#[test]
fn a_word_depends_on_its_seed_alone() {
    let synthesizer = synthesizer(SynthOptions::default());
    let words: Vec<_> = (0..20).map(|seed| synthesizer.sample(seed).unwrap()).collect();
    for (seed, word) in words.iter().enumerate().rev() {
        assert!(synthesizer.sample(seed as u64).unwrap() == *word);
    }
    assert!(words[1..].iter().any(|word| word.image != words[0].image));
}

#[test]
fn boxes_hold_the_characters() {
    // Black on white or the other way round, undistorted but for the geometry.
    let options = SynthOptions {
        spacing: [0.2, 0.3],
        margin: [0.1, 0.3],
        outlined: 0.0,
        shadowed: 0.0,
        gradient: 0.0,
        textured: 0.0,
        contrast: 0.4,
        blur: 0.0,
        noise: 0.0,
        shrunk: 0.0,
        jpeg: 0.0,
        ..SynthOptions::default()
    };
    let synthesizer = synthesizer(options);
    for seed in 0..100 {
        let word = synthesizer.sample(seed).unwrap();
        assert_eq!(word.boxes.len(), word.text.chars().count());
        let background = *word.image.get_pixel(0, 0);
        for (x, y, pixel) in word.image.enumerate_pixels() {
            let differs = pixel.0.iter().zip(background.0).any(|(&a, b)| a.abs_diff(b) > 40);
            let (x, y) = (x as f32, y as f32);
            let boxed = word
                .boxes
                .iter()
                .flatten()
                .any(|&[x0, y0, x1, y1]| x >= x0 - 1.0 && x <= x1 && y >= y0 - 1.0 && y <= y1);
            assert!(!differs || boxed, "{seed} {:?}: ink outside at {x}, {y}", word.text);
        }
        for (character, place) in word.text.chars().zip(&word.boxes) {
            assert_eq!(place.is_none(), character == ' ', "{seed} {:?}", word.text);
        }
    }
}

#[test]
fn cut_margins_and_backgrounds() {
    let options = SynthOptions { margin: [-0.25, -0.1], pictured: 1.0, ..SynthOptions::default() };
    let pictures = vec![RgbImage::from_pixel(3, 5, image::Rgb([9, 200, 30]))];
    let synthesizer = synthesizer(options).with_backgrounds(pictures);
    for seed in 0..50 {
        let word = synthesizer.sample(seed).unwrap();
        assert!(word.image.width() >= 2 && word.image.height() >= 2);
    }
}

#[test]
fn impossible_options() {
    let fonts = || Fonts::system_where(|name| name.starts_with("DejaVu")).unwrap();
    let texts = || Texts::random("a", 1..=1).unwrap();
    let cases = [
        SynthOptions { size: [9.0, 3.0], ..SynthOptions::default() },
        SynthOptions { blur: f32::NAN, ..SynthOptions::default() },
        SynthOptions { jpeg: 1.5, ..SynthOptions::default() },
    ];
    for options in cases {
        assert!(Synthesizer::new(fonts(), texts(), options).is_err());
    }
    assert!(Texts::random("", 1..=3).is_err());
    assert!(Texts::words([" ".to_owned()]).is_err());
    assert!(Fonts::from_folder("/nowhere").is_err());
    let nothing = Synthesizer::new(
        fonts(),
        Texts::random("\u{fdd0}", 1..=2).unwrap(),
        SynthOptions::default(),
    );
    assert!(matches!(nothing.unwrap().sample(0), Err(TrainError::Glyphs { .. })));
}

#[test]
fn families_are_split() {
    let fonts = Fonts::system().unwrap();
    let (most, rest) = fonts.split(2);
    assert_eq!(most.len() + rest.len(), fonts.len());
    let family = |name: &str| name.split('-').next().unwrap().to_lowercase();
    let held: Vec<String> = rest.names().map(family).collect();
    assert!(most.names().all(|name| !held.contains(&family(name))));
}

#[test]
fn every_effect_on_every_word() {
    // Everything at once is unreadable, but it is a picture that its seed decides.
    let options = SynthOptions {
        outlined: 1.0,
        shadowed: 1.0,
        shrunk: 1.0,
        jpeg: 1.0,
        stretched: 1.0,
        jittered: 1.0,
        wavy: 1.0,
        curved: 1.0,
        neighbours: 1.0,
        plated: 1.0,
        ruled: 1.0,
        weighted: 1.0,
        extruded: 1.0,
        inked: 1.0,
        lit: 1.0,
        moved: 1.0,
        faded: 1.0,
        tiny: 1.0,
        sharpened: 1.0,
        natural: 1.0,
        ..SynthOptions::default()
    };
    let hollow = SynthOptions { hollow: 1.0, ..options.clone() };
    let pictures =
        || vec![RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * 6) as u8, (y * 8) as u8, 90]))];
    for options in [options, hollow] {
        let synthesizer = synthesizer(options).with_backgrounds(pictures());
        for seed in 0..40 {
            let word = synthesizer.sample(seed).unwrap();
            assert!(word.image.width() >= 2 && (2..=26).contains(&word.image.height()));
            assert_eq!(word.boxes.len(), word.text.chars().count());
            assert!(synthesizer.sample(seed).unwrap() == word);
        }
    }
}

#[test]
fn clean_words_keep_their_pixels() {
    let damaged = SynthOptions { tiny: 1.0, faded: 1.0, jpeg: 0.0, ..SynthOptions::default() };
    let clean = SynthOptions { clean: 1.0, ..damaged.clone() };
    let (damaged, clean) = (synthesizer(damaged), synthesizer(clean));
    let height = |synthesizer: &Synthesizer| -> u32 {
        (0..20).map(|seed| synthesizer.sample(seed).unwrap().image.height()).max().unwrap()
    };
    assert!(height(&damaged) <= 26 && height(&clean) > 26);
}

#[test]
fn fonts_of_a_list() {
    let file = font_file("DejaVuSans.ttf");
    let folder = tempfile::tempdir().unwrap();
    for name in ["plain-400.ttf", "caps.ttf"] {
        std::fs::copy(&file, folder.path().join(name)).unwrap();
    }
    let list = folder.path().join("fonts.tsv");
    let text = "plain-400.ttf\tPlain\tq#\tcapsonly=0\tscore=0.90\n\
                caps.ttf\tCaps\t-\tcapsonly=1\tscore=0.50\n";
    std::fs::write(&list, text).unwrap();
    assert_eq!(Fonts::from_list(&list, 0.0).unwrap().len(), 2);
    let plain = Fonts::from_list(&list, 0.6).unwrap();
    assert_eq!(plain.names().collect::<Vec<_>>(), ["plain-400"]);
    assert!(Fonts::from_list(&list, 0.95).is_err());
    // What the font lacks is not drawn with it; a font of capitals draws capitals.
    let texts = || Texts::random("aq", 1..=3).unwrap();
    let synthesizer = Synthesizer::new(plain, texts(), SynthOptions::default()).unwrap();
    assert!((0..30).all(|seed| !synthesizer.sample(seed).unwrap().text.contains('q')));
    let caps = Fonts::from_list(&list, 0.0).unwrap().filtered(|name| name == "caps");
    let synthesizer = Synthesizer::new(caps, texts(), SynthOptions::default()).unwrap();
    let word = synthesizer.sample(0).unwrap();
    assert!(word.text.chars().all(|c| "AQ".contains(c)), "{}", word.text);
    std::fs::write(&list, "plain-400.ttf\tno more").unwrap();
    assert!(matches!(Fonts::from_list(&list, 0.0), Err(TrainError::Options { .. })));
}

/// Where the system keeps a font.
fn font_file(name: &str) -> std::path::PathBuf {
    let mut database = fontdb::Database::new();
    database.load_system_fonts();
    let path = database.faces().find_map(|face| match &face.source {
        fontdb::Source::File(path) => path.ends_with(name).then(|| path.clone()),
        fontdb::Source::SharedFile(path, _) => path.ends_with(name).then(|| path.clone()),
        fontdb::Source::Binary(_) => None,
    });
    path.expect("these tests need DejaVu: package fonts-dejavu-core")
}

#[test]
fn kinds_of_texts() {
    let mut rng = Pcg64Mcg::seed_from_u64(1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("words.tsv");
    std::fs::write(&file, "the\t7\nof\t6\nrare\t1\nnaïve\t7\n").unwrap();
    let words = Texts::open_frequencies(&file, 1.0).unwrap().retain(|word| word.is_ascii());
    let drawn: Vec<String> = (0..1000).map(|_| words.draw(&mut rng)).collect();
    let count = |word: &str| drawn.iter().filter(|drawn| *drawn == word).count();
    assert!(count("the") > 850 && count("of") > 50 && count("naïve") == 0);
    let even = Texts::open_frequencies(&file, 0.0).unwrap();
    assert!((0..100).any(|_| even.draw(&mut rng) == "rare"));
    let punctuated = words.clone().with_punctuation(1.0);
    assert!((0..100).all(|_| !["the", "of"].contains(&punctuated.draw(&mut rng).as_str())));
    let codes = Texts::patterns([r"\d{3}"]).unwrap();
    let mixed = Texts::mixed([(words, 3.0), (codes, 1.0)]).unwrap();
    let is_number = |text: String| text.starts_with(|c: char| c.is_ascii_digit());
    let numbers = (0..1000).filter(|_| is_number(mixed.draw(&mut rng))).count();
    assert!((180..320).contains(&numbers), "{numbers}");
    assert!(Texts::open_frequencies(folder.path().join("none"), 1.0).is_err());
    assert!(Texts::patterns(["("]).is_err() && Texts::mixed([]).is_err());
    assert!(Texts::weighted([("a".to_owned(), f64::NAN)]).is_err());
}
