//! From coefficients to pixels, as libjpeg computes them: its accurate integer transform, its smooth
//! interpolation of halved samples, its conversion of colours.

use std::num::Wrapping;

use super::coefficients::Coefficients;
use super::header::{Colours, Frame};
use super::tables::Quantization;

/// Samples of a component.
struct Plane {
    samples: Vec<u8>,
    /// From row to row.
    stride: usize,
    width: usize,
    height: usize,
    /// How many pixels a sample covers, across and down.
    covers: (usize, usize),
}

/// RGB of a frame whose coefficients are all there.
pub(super) fn render(frame: &Frame, colours: Colours, parts: Vec<Coefficients>) -> Vec<u8> {
    let sampling = frame.sampling();
    let planes: Vec<Plane> = parts
        .into_iter()
        .enumerate()
        .map(|(index, coefficients)| {
            let (h, v) = frame.components[index].sampling;
            let (width, height) = frame.samples(index);
            let covers = (sampling.0 / h, sampling.1 / v);
            let stride = coefficients.across * 8;
            Plane { samples: inverse(coefficients), stride, width, height, covers }
        })
        .collect();
    let mut rows = vec![vec![0; frame.width]; planes.len()];
    let mut sums = Vec::new();
    let mut rgb = Vec::with_capacity(frame.width * frame.height * 3);
    for y in 0..frame.height {
        for (plane, row) in planes.iter().zip(&mut rows) {
            plane.row(y, row, &mut sums);
        }
        let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        match (colours, rows.as_slice()) {
            (Colours::Grey, [grey, ..]) => rgb.extend(grey.iter().flat_map(|&grey| [grey; 3])),
            (Colours::Rgb, [red, green, blue, ..]) => {
                rgb.extend((0..frame.width).flat_map(|x| [red[x], green[x], blue[x]]));
            }
            (Colours::Ycc, [luma, blue, red, ..]) => {
                rgb.extend((0..frame.width).flat_map(|x| ycc(luma[x], blue[x], red[x])));
            }
            (Colours::Cmyk, [cyan, magenta, yellow, black, ..]) => {
                let inks = |x: usize| inks([cyan[x], magenta[x], yellow[x]], black[x]);
                rgb.extend((0..frame.width).flat_map(inks));
            }
            (Colours::Ycck, [luma, blue, red, black, ..]) => {
                let inks =
                    |x: usize| inks(ycc(luma[x], blue[x], red[x]).map(|ink| 255 - ink), black[x]);
                rgb.extend((0..frame.width).flat_map(inks));
            }
            // The colours follow from the number of components.
            _ => rgb.extend(std::iter::repeat_n(0, 3 * frame.width)),
        }
    }
    rgb
}

impl Plane {
    /// A row of pixels. Samples that cover two pixels across or down are interpolated, others are
    /// repeated. `sums` is scratch space.
    fn row(&self, y: usize, row: &mut [u8], sums: &mut Vec<u16>) {
        let line = |at: usize| &self.samples[at * self.stride..][..self.width];
        let own = y / self.covers.1;
        // The row on the other side of the pixel.
        let near = if y.is_multiple_of(2) {
            own.saturating_sub(1)
        } else {
            (own + 1).min(self.height - 1)
        };
        let weighted = |sums: &mut Vec<u16>| {
            sums.clear();
            let pairs = line(own).iter().zip(line(near));
            sums.extend(pairs.map(|(&own, &near)| 3 * u16::from(own) + u16::from(near)));
        };
        match self.covers {
            (1, 1) => row.copy_from_slice(&line(own)[..row.len()]),
            (2, 1) if self.width > 2 => {
                sums.clear();
                sums.extend(line(own).iter().map(|&sample| u16::from(sample)));
                widen(sums, row, (1, 2, 2));
            }
            (2, 2) if self.width > 2 => {
                weighted(sums);
                widen(sums, row, (8, 7, 4));
            }
            (1, 2) => {
                weighted(sums);
                let half = if y.is_multiple_of(2) { 1 } else { 2 };
                for (pixel, sum) in row.iter_mut().zip(sums) {
                    *pixel = ((*sum + half) >> 2) as u8;
                }
            }
            (across, _) => {
                for (pixels, &sample) in row.chunks_mut(across).zip(line(own)) {
                    pixels.fill(sample);
                }
            }
        }
    }
}

/// Two pixels of every sum: three quarters of it and one of its neighbour, rounded by `left` and
/// `right`, with `bits` fractional bits of the result.
fn widen(sums: &[u16], row: &mut [u8], (left, right, bits): (u16, u16, u32)) {
    let last = sums.len() - 1;
    for (x, pixel) in row.iter_mut().enumerate() {
        let own = x / 2;
        let (near, half) = if x % 2 == 0 {
            (sums[own.saturating_sub(1)], left)
        } else {
            (sums[(own + 1).min(last)], right)
        };
        *pixel = ((3 * sums[own] + near + half) >> bits) as u8;
    }
}

/// Fixed point of the colours' conversion.
const COLOUR_BITS: u32 = 16;

fn ycc(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let fixed = |factor: f64| (factor * f64::from(1 << COLOUR_BITS) + 0.5) as i32;
    let (luma, blue, red) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
    let half = 1 << (COLOUR_BITS - 1);
    let clip = |value: i32| value.clamp(0, 255) as u8;
    [
        clip(luma + ((fixed(1.402) * red + half) >> COLOUR_BITS)),
        clip(luma + ((-fixed(0.34414) * blue - fixed(0.71414) * red + half) >> COLOUR_BITS)),
        clip(luma + ((fixed(1.772) * blue + half) >> COLOUR_BITS)),
    ]
}

/// RGB of inks that are stored as their complements, as Adobe does and Pillow assumes.
fn inks(colours: [u8; 3], black: u8) -> [u8; 3] {
    let black = u32::from(black);
    colours.map(|own| {
        let product = u32::from(255 - own) * black + 128;
        (black - (((product >> 8) + product) >> 8)) as u8
    })
}

/// Samples of all blocks.
fn inverse(coefficients: Coefficients) -> Vec<u8> {
    let Coefficients { values, across, down, quantization } = coefficients;
    let steps = quantization.unwrap_or([0; 64]);
    let stride = across * 8;
    let mut samples = vec![0; stride * down * 8];
    let (blocks, _) = values.as_chunks::<64>();
    for (index, block) in blocks.iter().enumerate() {
        let start = index / across * 8 * stride + index % across * 8;
        for (line, row) in transform(block, &steps).as_chunks::<8>().0.iter().enumerate() {
            samples[start + line * stride..][..8].copy_from_slice(row);
        }
    }
    samples
}

/// Fractional bits of the transform's factors, and of what its first pass leaves.
const FACTOR_BITS: usize = 13;
const PASS_BITS: usize = 2;

/// The inverse cosine transform of Loeffler, Ligtenberg and Moschytz (1989) with 12 products a line, in
/// the fixed point of libjpeg.
fn transform(block: &[i16; 64], steps: &Quantization) -> [u8; 64] {
    let mut work = [Wrapping(0i32); 64];
    for ((value, &coefficient), &step) in work.iter_mut().zip(block).zip(steps) {
        *value = Wrapping(i32::from(coefficient)) * Wrapping(i32::from(step));
    }
    for x in 0..8 {
        let column = line(std::array::from_fn(|y| work[y * 8 + x]), FACTOR_BITS - PASS_BITS);
        for (y, value) in column.into_iter().enumerate() {
            work[y * 8 + x] = value;
        }
    }
    let mut samples = [0; 64];
    for (row, out) in work.as_chunks::<8>().0.iter().zip(samples.as_chunks_mut::<8>().0) {
        *out = line(*row, FACTOR_BITS + PASS_BITS + 3)
            .map(|value| (value + Wrapping(128)).0.clamp(0, 255) as u8);
    }
    samples
}

/// One line of eight; the result is shifted right by so many bits.
fn line(at: [Wrapping<i32>; 8], shift: usize) -> [Wrapping<i32>; 8] {
    let by = Wrapping::<i32>;
    // Even part.
    let turned = (at[2] + at[6]) * by(4433);
    let (low, high) = (turned - at[6] * by(15137), turned + at[2] * by(6270));
    let (sum, difference) = ((at[0] + at[4]) << FACTOR_BITS, (at[0] - at[4]) << FACTOR_BITS);
    let even = [sum + high, difference + low, difference - low, sum - high];
    // Odd part.
    let (a, b, c, d) = (at[7], at[5], at[3], at[1]);
    let all = (a + c + b + d) * by(9633);
    let (ad, bc) = (-(a + d) * by(7373), -(b + c) * by(20995));
    let (ac, bd) = (all - (a + c) * by(16069), all - (b + d) * by(3196));
    let odd = [
        d * by(12299) + ad + bd,
        c * by(25172) + bc + ac,
        b * by(16819) + bc + bd,
        a * by(2446) + ad + ac,
    ];
    let half = by(1 << (shift - 1));
    std::array::from_fn(|place| {
        let (even, odd) = (even[place.min(7 - place)], odd[place.min(7 - place)]);
        (if place < 4 { even + odd + half } else { even - odd + half }) >> shift
    })
}
