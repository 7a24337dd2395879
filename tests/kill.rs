//! A training that is killed again and again resumes from its last checkpoint, and comes to the same
//! end.
//!
//! This program runs itself as the training, which it kills.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};
use svtrv2::Charset;
use svtrv2::model::{Config, FrmConfig, StageConfig, SvtrConfig};
use svtrv2::train::synth::{Fonts, SynthOptions, Synthesizer, Texts};
use svtrv2::train::{LoaderOptions, Network, Recipe, Trainer, WeightedSource};

/// How often it is killed.
const KILLS: u32 = 20;
const STEPS: u64 = 120;
const CHILD: &str = "--train-in";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == CHILD) {
        train(Path::new(&arguments[at + 1]));
        return;
    }
    // What test runners ask for.
    if arguments.iter().any(|argument| argument == "--list") {
        println!("killed_training_goes_on: test");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(name));
    for folder in [&whole, &killed] {
        std::fs::create_dir(folder).unwrap();
    }
    let start = Instant::now();
    assert!(child(&whole).wait().unwrap().success());
    let expected = curve(&whole);
    assert_eq!(expected.len(), STEPS as usize);
    let step = start.elapsed() / STEPS as u32;

    // A moment after up to three more steps: after all kills there are still some to go.
    let mut rng = Pcg64Mcg::seed_from_u64(std::process::id().into());
    for _ in 0..KILLS {
        let until = reported(&killed) + (rng.next_u64() % 4) as usize;
        let mut running = child(&killed);
        while reported(&killed) < until && running.try_wait().unwrap().is_none() {
            std::thread::sleep(step / 20);
        }
        std::thread::sleep(step.mul_f64((rng.next_u64() % 1000) as f64 / 1000.0));
        running.kill().unwrap();
        assert!(!running.wait().unwrap().success(), "it was done before it was killed");
    }
    assert!(child(&killed).wait().unwrap().success());
    assert_eq!(curve(&killed), expected);
    println!("killed {KILLS} times: the same {STEPS} losses");
}

fn child(folder: &Path) -> std::process::Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program).arg(CHILD).arg(folder).stdin(Stdio::null()).spawn().unwrap()
}

/// How many steps were reported, those that were made twice counted twice.
fn reported(folder: &Path) -> usize {
    let text = std::fs::read_to_string(folder.join("losses")).unwrap_or_default();
    text.lines().filter(|line| line.ends_with(" .")).count()
}

/// The loss of every step; of a step that was made twice both must be the same.
fn curve(folder: &Path) -> Vec<u64> {
    let text = std::fs::read_to_string(folder.join("losses")).unwrap();
    let mut losses = Vec::new();
    for line in text.lines() {
        // The last line before a kill may be half a line.
        let mut parts = line.split(' ');
        let (Some(step), Some(bits), Some(".")) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (step, bits): (usize, u64) = (step.parse().unwrap(), bits.parse().unwrap());
        if step < losses.len() {
            assert_eq!(losses[step], bits, "step {step} went otherwise the second time");
        } else {
            assert_eq!(step, losses.len(), "a step is missing");
            losses.push(bits);
        }
    }
    losses
}

fn train(folder: &Path) {
    let checkpoint = folder.join("last.safetensors");
    let fonts = Fonts::system_where(|name| name == "DejaVuSans");
    let fonts = fonts.expect("this test needs DejaVu Sans: package fonts-dejavu-core");
    let texts = Texts::random("0123456789", 1..=3).unwrap();
    let words = Synthesizer::new(fonts, texts, SynthOptions::default()).unwrap();
    let sources: Vec<WeightedSource> = vec![(Arc::new(words), 1.0)];
    let mut trainer = if checkpoint.exists() {
        Trainer::resume(&checkpoint, sources, LoaderOptions::default(), &Device::Cpu).unwrap()
    } else {
        let stage = |local, global| StageConfig::new(8, 1, local, global);
        let charset = Charset::from_characters("0123456789").unwrap();
        let encoder = SvtrConfig::new([stage(1, 0), stage(0, 1), stage(0, 1)]);
        let frm = FrmConfig { heads: 1, mlp_dim: 32 };
        let config =
            Config { num_classes: charset.classes(), max_ratio: 4, ..Config::svtr(encoder, frm) };
        let network = Network::new(&config, &Device::Cpu, 1).unwrap();
        let recipe = Recipe { steps: STEPS, batch_size: 4, sgm_weight: 1.0, ..Recipe::default() };
        Trainer::new(network, charset, recipe, sources, LoaderOptions::default()).unwrap()
    };
    let mut losses =
        std::fs::OpenOptions::new().create(true).append(true).open(folder.join("losses")).unwrap();
    // A half-written line ends here.
    writeln!(losses).unwrap();
    while !trainer.is_done() {
        let report = trainer.step().unwrap();
        writeln!(losses, "{} {} .", report.step, report.loss.to_bits()).unwrap();
        trainer.save(&checkpoint).unwrap();
    }
}
