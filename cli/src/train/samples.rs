//! Crops as a training receives them, to look at.

use std::io;
use std::path::Path;

use candle_core::Tensor;
use image::RgbImage;
use svtrv2::train::Loader;

use crate::failure::{Failure, Result};
use crate::output;

/// Writes crops as PNG files, and `labels.tsv`; returns their number, a few more than `count` if the
/// last batch is larger.
pub fn write(mut loader: Loader, folder: &Path, count: usize) -> Result<usize> {
    std::fs::create_dir_all(folder).map_err(Failure::file(folder))?;
    let mut labels = String::new();
    let mut number = 0;
    while number < count {
        let batch = loader.next_batch()?;
        let (_, _, height, width) = batch.images.dims4()?;
        for (index, text) in batch.texts.iter().enumerate() {
            let bytes = bytes(&batch.images.get(index)?.permute((1, 2, 0))?)?;
            let name = format!("{number:05}.png");
            let path = folder.join(&name);
            let image = RgbImage::from_raw(width as u32, height as u32, bytes);
            let saved = image.map(|image| image.save(&path));
            saved.transpose().map_err(|e| Failure::file(&path)(io::Error::other(e)))?;
            labels += &format!("{name}\t{text}\n");
            number += 1;
        }
    }
    let path = folder.join("labels.tsv");
    output::replace(&path, |file| file.write_all(labels.as_bytes()))?;
    Ok(number)
}

/// The bytes that values in -1..=1 were made of, in the order of the tensor's shape.
pub fn bytes(images: &Tensor) -> candle_core::Result<Vec<u8>> {
    let values = images.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.iter().map(|value| ((value + 1.0) * 127.5).round() as u8).collect())
}
