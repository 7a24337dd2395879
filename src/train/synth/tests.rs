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
    assert!(matches!(nothing.unwrap().sample(0), Err(TrainError::Glyphs(_))));
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
