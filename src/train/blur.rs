//! Gaussian blur of one channel.

/// A Gaussian blur, the borders continued.
pub(super) fn blur_plane(plane: &mut [f32], width: usize, height: usize, sigma: f32) {
    if sigma < 0.2 || width == 0 {
        return;
    }
    let reach = (2.5 * sigma).ceil() as usize;
    let weights: Vec<f32> =
        (0..=reach).map(|d| (-0.5 * (d as f32 / sigma).powi(2)).exp()).collect();
    let sum = weights[0] + 2.0 * weights[1..].iter().sum::<f32>();
    let weights: Vec<f32> = weights.into_iter().map(|weight| weight / sum).collect();
    let mut line = Vec::new();
    let mut pass = |plane: &mut [f32], start: usize, step: usize, count: usize| {
        line.clear();
        line.extend((0..count).map(|i| plane[start + i * step]));
        for i in 0..count {
            let mut value = weights[0] * line[i];
            for (d, weight) in weights.iter().enumerate().skip(1) {
                value += weight * (line[i.saturating_sub(d)] + line[(i + d).min(count - 1)]);
            }
            plane[start + i * step] = value;
        }
    };
    for y in 0..height {
        pass(plane, y * width, 1, width);
    }
    for x in 0..width {
        pass(plane, x, width, height);
    }
}
