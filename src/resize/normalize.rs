//! From 8-bit samples to the network's input.

use std::sync::LazyLock;

/// Writes the network's input, `[3, height, width]`, each sample in -1..=1, of 8-bit RGB pixels.
pub(crate) fn normalize_rgb(rgb: &[u8], input: &mut Vec<f32>) {
    static SAMPLES: LazyLock<[f32; 256]> =
        LazyLock::new(|| std::array::from_fn(|sample| (sample as f32 / 255.0 - 0.5) / 0.5));
    let samples = &*SAMPLES;
    let (pixels, _) = rgb.as_chunks::<3>();
    for channel in 0..3 {
        input.extend(pixels.iter().map(|pixel| samples[usize::from(pixel[channel])]));
    }
}
