//! `svtrv2 bulk` and `svtrv2 sql` as they are run.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int32Array, RecordBatch};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{DataType, Int32Type};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::file::properties::WriterProperties;

use support::{batch, pngs, repository, texts, toy, toy_recognizer};

fn program(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_svtrv2-datafusion"));
    command.current_dir(folder).args(arguments);
    if arguments[0] == "bulk" || arguments[0] == "sql" {
        command.arg("--weights").arg(toy()).args(["--charset", "english"]);
    }
    command.output().unwrap()
}

/// What a run prints that must succeed.
fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = program(folder, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

fn fail(folder: &Path, arguments: &[&str]) -> String {
    let output = program(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A Parquet file of images, numbered, in row groups of 50.
fn write_crops(path: &Path, images: &[Vec<u8>]) {
    let numbers: ArrayRef = Arc::new(Int32Array::from_iter_values(0..images.len() as i32));
    let column: ArrayRef = Arc::new(BinaryArray::from_iter_values(images));
    let rows = RecordBatch::try_from_iter([("id", numbers), ("image", column)]).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(50)).build();
    let file = fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
}

fn read(path: &Path) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
    let schema = Arc::clone(builder.schema());
    let batches: Vec<_> = builder.build().unwrap().map(|batch| batch.unwrap()).collect();
    concat_batches(&schema, &batches).unwrap()
}

#[test]
fn a_file_gives_a_file_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let images = pngs(220);
    let mut damaged = images.clone();
    damaged[70].truncate(40);
    write_crops(&folder.path().join("crops.parquet"), &damaged);
    let printed = succeed(folder.path(), &["bulk", "crops.parquet", "texts.parquet"]);
    assert!(printed.contains("220 rows, 1 with an error"), "{printed}");
    let rows = read(&folder.path().join("texts.parquet"));
    let names: Vec<_> = rows.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["id", "text", "confidence", "score", "chars", "words", "error"]);
    let ids = rows.column(0).as_primitive::<Int32Type>();
    assert!(ids.values().iter().copied().eq(0..220));
    let expected = batch(&toy_recognizer(), &images);
    for (row, text) in texts(rows.column(1)).into_iter().enumerate() {
        let expected = (row != 70).then(|| expected[row].text.clone());
        assert_eq!(text, expected, "row {row}");
    }
    assert_eq!(rows.column(6).len() - rows.column(6).null_count(), 1);
    assert!(rows.column(6).is_valid(70));
}

/// Brackets and question marks are no pattern in the name of a file that was given.
#[test]
fn names_and_types_of_the_input_are_free() {
    let folder = tempfile::tempdir().unwrap();
    let images = pngs(30);
    let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(&images));
    let of = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Binary));
    let packed = cast(&array, &of).unwrap();
    let rows = RecordBatch::try_from_iter([("image", packed)]).unwrap();
    for name in ["a [1]?.parquet", "B.PARQUET", "crops"] {
        let file = fs::File::create(folder.path().join(name)).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        succeed(folder.path(), &["bulk", name, "texts.parquet", "--overwrite"]);
        let found = texts(read(&folder.path().join("texts.parquet")).column(0));
        let expected = batch(&toy_recognizer(), &images);
        let expected = expected.into_iter().map(|recognition| Some(recognition.text));
        assert!(found.into_iter().eq(expected), "{name}");
    }
}

#[test]
fn finished_files_are_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("crops");
    fs::create_dir(&input).unwrap();
    for name in ["a", "b", "c"] {
        write_crops(&input.join(format!("{name}.parquet")), &pngs(20));
    }
    let printed = succeed(folder.path(), &["bulk", "crops", "texts"]);
    assert!(printed.contains("3 files: 60 rows, 0 with an error"), "{printed}");
    let output = folder.path().join("texts");
    let kept = fs::metadata(output.join("a.parquet")).unwrap().modified().unwrap();
    // As a run leaves them that was killed in the second file, some time ago.
    let left = output.join(".b.parquet.1.0.partial");
    fs::rename(output.join("b.parquet"), &left).unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(1000);
    fs::File::options().write(true).open(&left).unwrap().set_modified(old).unwrap();
    fs::remove_file(output.join("c.parquet")).unwrap();
    let printed = succeed(folder.path(), &["bulk", "crops", "texts"]);
    assert!(printed.contains("1 of 3 files are finished"), "{printed}");
    assert!(printed.contains("2 files: 40 rows"), "{printed}");
    assert_eq!(fs::metadata(output.join("a.parquet")).unwrap().modified().unwrap(), kept);
    // Their metadata say which input they come from.
    let [a, b] = ["a", "b"].map(|name| read(&output.join(format!("{name}.parquet"))));
    assert_eq!(b.columns(), a.columns());
    assert!(!left.exists());
    let printed = succeed(folder.path(), &["bulk", "crops", "texts"]);
    assert!(printed.contains("3 of 3 files are finished"), "{printed}");
    let printed = succeed(folder.path(), &["bulk", "crops", "texts", "--overwrite"]);
    assert!(printed.contains("3 files: 60 rows"), "{printed}");
}

/// Rows of other weights, options or input stay out of a run.
#[test]
fn finished_files_of_other_settings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("crops.parquet");
    write_crops(&input, &pngs(20));
    fs::write(folder.path().join("words.txt"), "ab\nba\n").unwrap();
    let lexicon = ["bulk", "crops.parquet", "texts.parquet", "--lexicon", "words.txt"];
    succeed(folder.path(), &lexicon);
    let printed = succeed(folder.path(), &lexicon);
    assert!(printed.contains("1 of 1 files are finished"), "{printed}");
    let written = fs::read(folder.path().join("texts.parquet")).unwrap();
    let plain = ["bulk", "crops.parquet", "texts.parquet"];
    let table: [(&[&str], &str); 4] = [
        (&[], "svtrv2.lexicon"),
        (&["--lexicon", "words.txt", "--beam", "7"], "svtrv2.beam"),
        (&["--lexicon", "words.txt", "--where", "id < 9"], "svtrv2.where"),
        (&["--lexicon", "words.txt", "--prefix", "ocr_"], "svtrv2.column.prefix"),
    ];
    for (more, name) in table {
        let error = fail(folder.path(), &[&plain[..], more].concat());
        assert!(error.contains(name) && error.contains("--overwrite"), "{more:?}: {error}");
    }
    // The same names with other contents.
    fs::write(folder.path().join("words.txt"), "ab\nbb\n").unwrap();
    let error = fail(folder.path(), &lexicon);
    assert!(error.contains("svtrv2.lexicon") && error.contains("content"), "{error}");
    fs::write(folder.path().join("words.txt"), "ab\nba\n").unwrap();
    write_crops(&input, &pngs(21));
    let error = fail(folder.path(), &lexicon);
    assert!(error.contains("svtrv2.input"), "{error}");
    assert_eq!(fs::read(folder.path().join("texts.parquet")).unwrap(), written);
    let printed = succeed(folder.path(), &[&lexicon[..], &["--overwrite"]].concat());
    assert!(printed.contains("21 rows"), "{printed}");
}

#[test]
fn image_files_come_from_folders_and_lists() {
    let folder = tempfile::tempdir().unwrap();
    let samples = repository().join("examples/crops");
    let samples = samples.to_str().unwrap();
    let printed = succeed(folder.path(), &["bulk", samples, "texts", "--rows-per-file", "4"]);
    assert!(printed.contains("2 files: 7 rows, 0 with an error"), "{printed}");
    let first = read(&folder.path().join("texts/images-000000.parquet"));
    assert_eq!(first.num_rows(), 4);
    assert!(texts(first.column(0))[0].as_deref().unwrap().ends_with("bakery.jpg"));
    let list = format!("{samples}/open.png\n{samples}/none.png\n");
    fs::write(folder.path().join("list.txt"), list).unwrap();
    let printed = succeed(folder.path(), &["bulk", "list.txt", "texts.parquet"]);
    assert!(printed.contains("2 rows, 1 with an error"), "{printed}");
    let rows = read(&folder.path().join("texts.parquet"));
    assert!(rows.column(6).is_null(0) && rows.column(6).is_valid(1));
}

#[test]
fn rows_are_filtered_and_columns_renamed() {
    let folder = tempfile::tempdir().unwrap();
    write_crops(&folder.path().join("crops.parquet"), &pngs(30));
    let arguments = ["bulk", "crops.parquet", "texts.parquet", "--where", "id % 3 = 0"];
    let printed = succeed(folder.path(), &[&arguments[..], &["--prefix", "ocr_"]].concat());
    assert!(printed.contains("10 rows"), "{printed}");
    let rows = read(&folder.path().join("texts.parquet"));
    assert_eq!(rows.schema().field(1).name(), "ocr_text");
    // The names of results are taken; and texts are no images.
    for (prefix, part) in [("ocr_", "--prefix"), ("more_", "binary")] {
        let arguments =
            ["bulk", "texts.parquet", "more.parquet", "--image", "ocr_text", "--prefix", prefix];
        let error = fail(folder.path(), &arguments);
        assert!(error.contains(part), "{prefix}: {error}");
    }
    // Before a file is begun.
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_str().unwrap().contains("more.parquet")));
}

#[test]
fn mistakes_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    write_crops(&folder.path().join("crops.parquet"), &pngs(3));
    fs::write(folder.path().join("broken.parquet"), b"PAR1").unwrap();
    let table: [(&[&str], &str); 6] = [
        (&["bulk", "none.parquet", "texts.parquet"], "none.parquet"),
        (&["bulk", "crops.parquet", "texts.parquet", "--image", "img"], "img"),
        (&["bulk", "broken.parquet", "texts.parquet"], "broken.parquet"),
        (&["bulk", "crops.parquet", "crops.parquet", "x.parquet"], "folder"),
        (&["bulk", "crops.parquet", "texts.parquet", "--lexicon", "none.txt"], "none.txt"),
        (&["sql", "SELECT read_txt(image) FROM 'crops.parquet'"], "read_txt"),
    ];
    for (arguments, part) in table {
        let error = fail(folder.path(), arguments);
        assert!(error.contains(part), "{arguments:?}: {error}");
        assert!(!folder.path().join("texts.parquet").exists(), "{arguments:?}");
    }
    let output = program(folder.path(), &["bulk", "crops.parquet", "t.parquet", "--beam", "wide"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn queries_take_files_and_patterns() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("crops")).unwrap();
    let images = pngs(40);
    write_crops(&folder.path().join("crops/a.parquet"), &images[..25]);
    write_crops(&folder.path().join("crops/b.parquet"), &images[25..]);
    let expected = batch(&toy_recognizer(), &images);
    let query = "SELECT id, read_text(image).text AS text FROM 'crops/*.parquet'";
    let printed = succeed(folder.path(), &["sql", query, "--format", "json"]);
    let mut found: Vec<(i64, String)> = printed
        .lines()
        .map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            (row["id"].as_i64().unwrap(), row["text"].as_str().unwrap().to_owned())
        })
        .collect();
    found.sort();
    let mut all: Vec<(i64, String)> = (0..25)
        .chain(0..15)
        .zip(&expected)
        .map(|(id, recognition)| (id, recognition.text.clone()))
        .collect();
    all.sort();
    assert_eq!(found, all);
    let printed = succeed(folder.path(), &["sql", query, "--format", "csv"]);
    assert_eq!(printed.lines().filter(|line| *line == "id,text").count(), 1);
    let printed = succeed(folder.path(), &["sql", "SELECT count(*) AS n FROM 'crops/a.parquet'"]);
    assert!(printed.contains("| 25 |"), "{printed}");
    let statements = "SET svtrv2.allow = '01'; COPY (SELECT id, read_text(image).text AS text \
                      FROM 'crops/a.parquet') TO 'digits.parquet'";
    succeed(folder.path(), &["sql", statements]);
    let rows = read(&folder.path().join("digits.parquet"));
    let only_digits =
        |text: &Option<String>| text.as_deref().unwrap().trim_matches(['0', '1']).is_empty();
    let texts = cast(rows.column(1), &DataType::Utf8);
    assert!(support::texts(&texts.unwrap()).iter().all(only_digits));
    assert_eq!(rows.num_rows(), 25);
    let printed = succeed(folder.path(), &["sql", "SHOW svtrv2.weights"]);
    assert!(printed.contains("toy.onnx"), "{printed}");
}
