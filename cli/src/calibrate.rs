//! `svtrv2 convert --calibrate`: which layers may compute in int8.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use svtrv2::data::{DataError, Dataset};
use svtrv2::quantize::{CalibratedLayer, CalibrationOptions, Int8Calibration, QuantizeOptions};
use svtrv2::resize::ResizedCrop;
use svtrv2::weights::{ActivationBits, Weights};
use svtrv2::{Crop, Recognizer};

use crate::failure::{Failure, Result, say};

/// Layers that are printed.
const PRINTED: usize = 12;

/// Calibrates on at most `count` crops of a folder, prints what was found and adds it to the options.
pub fn calibrate(
    weights: &Weights,
    folder: &Path,
    count: usize,
    calibration: CalibrationOptions,
    mut options: QuantizeOptions,
) -> Result<QuantizeOptions> {
    let crops = crops(weights, folder, count)?;
    say(format!("calibrating on {} crops of {}", crops.len(), folder.display()))?;
    let bar = if std::io::stderr().is_terminal() {
        let template = "{bar:40} layer {pos} of {len}, {eta} left";
        let style = ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar());
        ProgressBar::new(0).with_style(style)
    } else {
        ProgressBar::hidden()
    };
    let calibration = weights.calibrate_int8(&crops, calibration, |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    print(&calibration)?;
    calibration.apply(&mut options);
    Ok(options)
}

fn print(calibration: &Int8Calibration) -> Result<()> {
    say("error (1e-3) with inputs of 8 and 12 bits, share of the multiplications, layer:")?;
    for layer in calibration.layers.iter().take(PRINTED) {
        let how = match (layer.keep, layer.activation_bits) {
            (true, _) => "  stays in f32",
            (false, ActivationBits::Twelve) => "  12 bits",
            (false, ActivationBits::Eight) => "",
        };
        let (eight, twelve) = (layer.error * 1e3, layer.twelve_bit_error * 1e3);
        let share = layer.share * 100.0;
        say(format!("{eight:8.2} {twelve:8.2} {share:5.1} %  {}{how}", layer.name))?;
    }
    // Count and share in percent.
    let those = |chosen: &dyn Fn(&CalibratedLayer) -> bool| {
        let shares =
            calibration.layers.iter().filter(|layer| chosen(layer)).map(|layer| layer.share);
        // (The sum of none would be -0.)
        (shares.clone().count(), shares.fold(0.0, |sum, share| sum + share) * 100.0)
    };
    let (kept, kept_share) = those(&|layer| layer.keep);
    let (fine, fine_share) = those(&|layer| layer.activation_bits == ActivationBits::Twelve);
    say(format!(
        "{kept} of {} layers stay in f32 ({kept_share:.1} % of the multiplications), {fine} have inputs of 12 \
         bits ({fine_share:.1} %); error {:.1} instead of {:.1}",
        calibration.layers.len(),
        calibration.error * 1e3,
        calibration.uncalibrated_error * 1e3,
    ))
}

/// Crops of a data set or of pictures in a folder, resized.
fn crops(weights: &Weights, folder: &Path, count: usize) -> Result<Vec<ResizedCrop>> {
    let recognizer = Recognizer::new(weights, svtrv2::Options::default())?;
    let mut crops = Vec::new();
    let mut add = |crop: svtrv2::Result<Crop>| -> Result<()> {
        // The first is the crop as it is, not turned.
        crops.extend(recognizer.resize(&crop?)?.into_iter().take(1));
        Ok(())
    };
    match Dataset::find(folder) {
        Ok(sets) => {
            let all: Vec<(&Dataset, usize)> =
                sets.iter().flat_map(|set| (0..set.len()).map(move |index| (set, index))).collect();
            for &(set, index) in spread(&all, count) {
                add(Crop::decode(&set.sample(index)?.image))?;
            }
        }
        Err(DataError::NoData(_)) => {
            for path in spread(&pictures(folder)?, count) {
                add(Crop::open(path))?;
            }
        }
        Err(error) => return Err(error.into()),
    }
    if crops.is_empty() {
        return Err(Failure::Input(format!("{}: no crops", folder.display())));
    }
    Ok(crops)
}

/// The PNG and JPEG files in a folder.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Failure::file(folder))? {
        paths.push(entry.map_err(Failure::file(folder))?.path());
    }
    paths.retain(|path| {
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        extension.is_some_and(|e| ["png", "jpg", "jpeg"].iter().any(|known| e == *known))
    });
    paths.sort();
    Ok(paths)
}

/// At most `count` of the values, evenly spread.
fn spread<T>(values: &[T], count: usize) -> impl Iterator<Item = &T> {
    let count = count.min(values.len());
    (0..count).map(move |i| &values[i * values.len() / count])
}
