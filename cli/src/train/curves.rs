//! A picture of how a training went.

use std::error::Error;
use std::io::Cursor;
use std::path::Path;
use std::sync::OnceLock;

use image::{ImageFormat, RgbImage};
use plotters::prelude::*;

use super::tables::{StepRow, Tables};
use crate::output;

const SIZE: (u32, u32) = (1000, 420);

/// Of the validation sets, one after the other.
const COLORS: [RGBColor; 4] = [RED, BLACK, MAGENTA, CYAN];

/// Draws loss (left) and accuracies (right) over the images.
pub fn draw(tables: &Tables, path: &Path) -> Result<(), Box<dyn Error>> {
    let Some(last) = tables.steps.last() else {
        return Ok(());
    };
    static FONT: OnceLock<Result<(), &str>> = OnceLock::new();
    (*FONT.get_or_init(register_font))?;
    let mut image = RgbImage::new(SIZE.0, SIZE.1);
    draw_on(&mut image, tables, last)?;
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, ImageFormat::Png)?;
    Ok(output::replace(path, |to| to.write_all(file.get_ref()))?)
}

fn draw_on(image: &mut RgbImage, tables: &Tables, last: &StepRow) -> Result<(), Box<dyn Error>> {
    let Tables { steps: rows, sets, .. } = tables;
    let area = BitMapBackend::with_buffer(image, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (left, right) = area.split_horizontally(SIZE.0 / 2);
    let thousands = |images: u64| images as f64 / 1e3;
    let end = thousands(last.images).max(1.0);
    let least = rows.iter().map(|row| row.loss).fold(f64::INFINITY, f64::min).max(1e-4);
    let most = rows.iter().map(|row| row.loss).fold(0.0, f64::max).max(2.0 * least);

    let mut chart = ChartBuilder::on(&left)
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..end, (least..most).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("thousand images")
        .y_desc("loss")
        .light_line_style(WHITE)
        .draw()?;
    let losses = rows.iter().map(|row| (thousands(row.images), row.loss.max(least)));
    chart.draw_series(LineSeries::new(losses, BLUE.stroke_width(2)))?;

    let mut chart = ChartBuilder::on(&right)
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..end, 0.0..100.0)?;
    chart.configure_mesh().x_desc("thousand images").y_desc("accuracy, %").draw()?;
    let training = rows.iter().map(|row| (thousands(row.images), 100.0 * row.training_accuracy));
    chart
        .draw_series(LineSeries::new(training, BLUE.mix(0.5).stroke_width(1)))?
        .label("training batches")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BLUE.mix(0.5)));
    let mut names: Vec<&str> = Vec::new();
    for row in sets {
        if !names.contains(&row.set.as_str()) {
            names.push(&row.set);
        }
    }
    for (name, color) in names.into_iter().zip(COLORS.into_iter().cycle()) {
        let of_set = sets.iter().filter(|row| row.set == name);
        let points = of_set.map(|row| (thousands(row.images), 100.0 * row.word_accuracy));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .position(SeriesLabelPosition::LowerRight)
        .draw()?;
    area.present()?;
    Ok(())
}

/// The first sans serif font of the system, which the labels are written in.
fn register_font() -> Result<(), &'static str> {
    let mut fonts = fontdb::Database::new();
    fonts.load_system_fonts();
    let families = [fontdb::Family::Name("DejaVu Sans"), fontdb::Family::SansSerif];
    let query = fontdb::Query { families: &families, ..fontdb::Query::default() };
    let id = fonts.query(&query).or_else(|| fonts.faces().next().map(|face| face.id));
    let data = id.and_then(|id| fonts.with_face_data(id, |data, _| data.to_vec()));
    let data = data.ok_or("the system has no fonts to label the curves with")?;
    plotters::style::register_font("sans-serif", FontStyle::Normal, Vec::leak(data))
        .map_err(|_| "a font for the curves cannot be read")
}
