//! Metrics as tables, JSON and comma-separated values.

use std::io::{self, Write};

use serde_json::json;
use svtrv2::evaluation::Metrics;

use super::measure::{LENGTHS, Measured, RATIOS, length_group, ratio_group};

/// Metrics by group of crops: what it groups by, the group, the metrics.
pub fn groups(set: &Measured, setting: usize) -> Vec<(&'static str, &'static str, Metrics)> {
    let lengths = set.by(setting, length_group).into_iter();
    let ratios = set.by(setting, ratio_group).into_iter();
    lengths
        .map(|(group, accumulator)| ("length", LENGTHS[group].0, accumulator.metrics()))
        .chain(
            ratios.map(|(group, accumulator)| {
                ("aspect ratio", RATIOS[group].0, accumulator.metrics())
            }),
        )
        .collect()
}

/// The mean of a setting over the sets.
pub fn average(measured: &[Measured], setting: usize) -> Option<Metrics> {
    let sets: Vec<Metrics> =
        measured.iter().map(|set| set.accumulators[setting].metrics()).collect();
    Metrics::average(&sets)
}

/// What the columns mean.
pub fn rules(measured: &[Measured]) -> String {
    let rule = measured.first().map(|set| set.rule).unwrap_or_default();
    format!(
        "accuracy: published protocol (lower case, 0-9 and a-z); exact: equal to the label; \
         lines, CER, spaces (F1): {rule}"
    )
}

pub fn print(
    measured: &[Measured],
    compared: &[String],
    breakdown: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    writeln!(out, "{}", rules(measured))?;
    for (index, text) in compared.iter().enumerate() {
        writeln!(out, "setting {}: {text}", index + 2)?;
    }
    let width = measured.iter().map(|set| set.name.chars().count()).max().unwrap_or(0).max(7);
    let several = !compared.is_empty();
    let setting = |index: usize| if several { format!(" {:>2}", index + 1) } else { String::new() };
    writeln!(
        out,
        "{:<width$}{} {:>7} {:>7} {:>8} {:>7} {:>7} {:>6} {:>6} {:>8} {:>7} {:>7} {:>7}",
        "set",
        if several { "  #" } else { "" },
        "images",
        "words",
        "accuracy",
        "exact",
        "1-NED",
        "conf",
        "ECE",
        "ms",
        "lines",
        "CER",
        "spaces"
    )?;
    let settings = compared.len() + 1;
    for set in measured {
        for (index, accumulator) in set.accumulators.iter().enumerate() {
            row(out, &set.name, width, &setting(index), &accumulator.metrics())?;
        }
    }
    if measured.len() > 1 {
        for index in 0..settings {
            if let Some(average) = average(measured, index) {
                row(out, "average", width, &setting(index), &average)?;
            }
        }
    }
    for index in 1..settings {
        let counts = measured.iter().map(|set| set.won_and_lost(index));
        let (won, lost) = counts.fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
        writeln!(out, "setting {} against 1: {won} crops won, {lost} lost", index + 1)?;
    }
    for set in measured {
        for (reason, count) in &set.skipped {
            writeln!(out, "{}: {count} skipped: {reason}", set.name)?;
        }
        if set.outside_charset > 0 {
            let (name, count) = (&set.name, set.outside_charset);
            writeln!(out, "{name}: {count} labels with symbols outside the charset")?;
        }
    }
    if !breakdown {
        return Ok(());
    }
    for set in measured {
        for index in 0..settings {
            let mut last = "";
            for (kind, group, metrics) in groups(set, index) {
                if kind != last {
                    writeln!(out, "\n{}{} by {kind}", set.name, setting(index))?;
                    last = kind;
                }
                row(out, group, width.max(13), "", &metrics)?;
            }
        }
    }
    Ok(())
}

fn row(
    out: &mut impl Write,
    name: &str,
    width: usize,
    setting: &str,
    metrics: &Metrics,
) -> io::Result<()> {
    let &Metrics { images, words, milliseconds, .. } = metrics;
    let percent = |share: f64| 100.0 * share;
    let (accuracy, exact) = (percent(metrics.word_accuracy), percent(metrics.exact_accuracy));
    let (similarity, error) = (percent(metrics.similarity), percent(metrics.calibration_error));
    let confidence = percent(metrics.mean_confidence);
    let (lines, errors) = (percent(metrics.line_accuracy), percent(metrics.character_error_rate));
    let spaces = metrics.space_f1.map_or("-".to_owned(), |f1| format!("{:.2}", percent(f1)));
    writeln!(
        out,
        "{name:<width$}{setting} {images:>7} {words:>7} {accuracy:>8.2} {exact:>7.2} \
         {similarity:>7.2} {confidence:>6.2} {error:>6.2} {milliseconds:>8.2} {lines:>7.2} \
         {errors:>7.2} {spaces:>7}"
    )
}

pub fn json(measured: &[Measured], compared: &[String]) -> serde_json::Value {
    let settings = 0..compared.len() + 1;
    let sets: Vec<_> = measured
        .iter()
        .map(|set| {
            let results: Vec<_> = settings
                .clone()
                .map(|index| {
                    let of = |wanted: &str| -> Vec<_> {
                        let groups = groups(set, index).into_iter();
                        groups
                            .filter(|(kind, _, _)| *kind == wanted)
                            .map(|(_, group, metrics)| json!({"group": group, "metrics": metrics}))
                            .collect()
                    };
                    let (won, lost) = set.won_and_lost(index);
                    json!({
                        "setting": index + 1,
                        "metrics": set.accumulators[index].metrics(),
                        "won": won,
                        "lost": lost,
                        "by_length": of("length"),
                        "by_aspect_ratio": of("aspect ratio"),
                    })
                })
                .collect();
            json!({
                "name": set.name,
                "skipped": set.skipped,
                "labels_outside_charset": set.outside_charset,
                "results": results,
            })
        })
        .collect();
    let averages: Vec<_> = settings.map(|index| average(measured, index)).collect();
    let rule = measured.first().map(|set| set.rule);
    json!({"compared": compared, "unicode_rule": rule, "sets": sets, "averages": averages})
}

pub fn csv(measured: &[Measured], out: &mut impl Write) -> io::Result<()> {
    // The header is written here: a record is made of more than its metrics.
    let mut table = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    table.write_record([
        "set",
        "setting",
        "by",
        "group",
        "images",
        "words",
        "word_accuracy",
        "exact_accuracy",
        "similarity",
        "mean_confidence",
        "calibration_error",
        "milliseconds",
        "line_accuracy",
        "character_error_rate",
        "space_f1",
    ])?;
    let mut record = |set: &str, setting: usize, by: &str, group: &str, metrics: &Metrics| {
        table.serialize((set, setting + 1, by, group, metrics))
    };
    for set in measured {
        for (setting, accumulator) in set.accumulators.iter().enumerate() {
            record(&set.name, setting, "", "", &accumulator.metrics())?;
            for (kind, group, metrics) in groups(set, setting) {
                record(&set.name, setting, kind, group, &metrics)?;
            }
        }
    }
    let settings = measured.first().map_or(0, |set| set.accumulators.len());
    for setting in 0..settings {
        if let Some(metrics) = average(measured, setting) {
            record("average", setting, "", "", &metrics)?;
        }
    }
    out.write_all(&table.into_inner().map_err(|error| error.into_error())?)
}
