//! `read_page` in queries: equal to what the package `svtrv2-page` reads. The detector is a small network of
//! arbitrary numbers; its lines mean nothing.

mod support;

#[path = "../../../tests/support/crafted.rs"]
mod crafted;
#[path = "../../../tests/support/graphs.rs"]
mod graphs;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use datafusion::arrow::datatypes::Float32Type;
use svtrv2::Page;
use svtrv2_page::{Detector, Reader};

use support::{png, run, table, toy_recognizer, toy_session};

#[tokio::test]
async fn pages_are_those_of_the_reader() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("detector.onnx");
    std::fs::write(&file, crafted::onnx(&graphs::detector_graph(true))).unwrap();
    let images = [png(1, 200, 120), png(2, 90, 64)];
    let reader = Reader::new(Detector::open(&file).unwrap(), toy_recognizer());
    let rows = [Some(&images[0][..]), None, Some(&b"no image"[..]), Some(&images[1][..])];
    let array: ArrayRef = Arc::new(BinaryArray::from_iter(rows));
    let ctx = toy_session(vec![("pages", table(array))]).await;
    let error = run(&ctx, "SELECT read_page(image) FROM pages").await.unwrap_err().to_string();
    assert!(error.contains("svtrv2.detector"), "{error}");
    run(&ctx, &format!("SET svtrv2.detector = '{}'", file.display())).await.unwrap();
    let found = run(&ctx, "SELECT read_page(image) AS page FROM pages").await.unwrap();
    let pages = found.column(0).as_struct();
    assert_eq!(pages.data_type(), &svtrv2_datafusion::page_type());
    let [texts, errors] = [0, 3].map(|column| pages.column(column).as_string::<i32>());
    let lines = pages.column(2).as_list::<i32>();
    assert!(pages.is_null(1) && errors.is_valid(2) && texts.is_null(2) && lines.is_null(2));
    for (row, image) in [(0, &images[0]), (3, &images[1])] {
        let expected = reader.read(&Page::decode(image).unwrap()).unwrap();
        assert!(errors.is_null(row));
        assert_eq!(texts.value(row), expected.text());
        let angles = pages.column(1).as_primitive::<Float32Type>();
        assert_eq!(angles.value(row), expected.angle);
        let own = lines.value(row);
        let own = own.as_struct();
        assert_eq!(own.len(), expected.lines.len());
        let words = own.column(6).as_list::<i32>();
        for (index, line) in expected.lines.iter().enumerate() {
            assert_eq!(own.column(0).as_string::<i32>().value(index), line.text);
            let quad = own.column(5).as_list::<i32>().value(index);
            let corners: Vec<f32> = line.quad.0.iter().flat_map(|p| [p.x, p.y]).collect();
            assert_eq!(quad.as_primitive::<Float32Type>().values(), &corners[..]);
            let of_line = words.value(index);
            let of_line = of_line.as_struct().column(0).as_string::<i32>();
            let expected: Vec<&str> = line.words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(of_line.iter().flatten().collect::<Vec<_>>(), expected);
        }
    }
}

#[tokio::test]
async fn a_detector_that_is_none_is_named() {
    let array: ArrayRef = Arc::new(BinaryArray::from_iter_values([png(1, 60, 40)]));
    let ctx = toy_session(vec![("pages", table(array))]).await;
    let toy = support::toy();
    run(&ctx, &format!("SET svtrv2.detector = '{}'", toy.display())).await.unwrap();
    let error = run(&ctx, "SELECT read_page(image) FROM pages").await.unwrap_err().to_string();
    assert!(error.contains("svtrv2.detector") && error.contains("toy.onnx"), "{error}");
}
