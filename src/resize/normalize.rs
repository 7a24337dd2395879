//! From 8-bit samples to the network's input.

use std::sync::LazyLock;

use super::LineSize;

/// What an 8-bit sample is in the network's input.
static SAMPLES: LazyLock<[f32; 256]> =
    LazyLock::new(|| std::array::from_fn(|sample| (sample as f32 / 255.0 - 0.5) / 0.5));

/// Writes the network's input, `[3, height, width]`, each sample in -1..=1, of 8-bit RGB pixels.
pub(super) fn normalize_rgb(rgb: &[u8], input: &mut Vec<f32>) {
    let samples = &*SAMPLES;
    let (pixels, _) = rgb.as_chunks::<3>();
    for channel in 0..3 {
        input.extend(pixels.iter().map(|pixel| samples[usize::from(pixel[channel])]));
    }
}

/// Writes the input of a network that takes lines, `[3, height, input_width]`, of 8-bit RGB pixels of the
/// resized line: blue, green and red in -1..=1, zeros right of the line.
pub(super) fn normalize_line(rgb: &[u8], size: LineSize, input: &mut Vec<f32>) {
    let samples = &*SAMPLES;
    let (pixels, _) = rgb.as_chunks::<3>();
    let (width, input_width) = (size.width.max(1) as usize, size.input_width as usize);
    for channel in [2, 1, 0] {
        for row in pixels.chunks(width) {
            let end = input.len() + input_width;
            let row = row.iter().take(input_width);
            input.extend(row.map(|pixel| samples[usize::from(pixel[channel])]));
            input.resize(end, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let size = LineSize { height: 2, width: 2, input_width: 3 };
        let rgb = [0, 51, 255, 0, 0, 0, 255, 255, 255, 0, 0, 0];
        let mut input = Vec::new();
        normalize_line(&rgb, size, &mut input);
        let blue = [1.0, -1.0, 0.0, 1.0, -1.0, 0.0];
        assert_eq!(input[..6], blue);
        let green = SAMPLES[51];
        assert!((green + 0.6).abs() < 1e-6);
        assert_eq!(input[6..12], [green, -1.0, 0.0, 1.0, -1.0, 0.0]);
        assert_eq!(input[12..], [-1.0, -1.0, 0.0, 1.0, -1.0, 0.0]);
    }
}
