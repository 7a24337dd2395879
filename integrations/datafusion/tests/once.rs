//! A call that a query has several times is evaluated once for each row.

mod support;

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryArray};
use svtrv2_datafusion::Counts;

use support::{pngs, run, table, toy_session};

/// One test: the counts are those of the process.
#[tokio::test]
async fn repeated_calls_are_evaluated_once() {
    let images = pngs(20);
    let array: ArrayRef = Arc::new(BinaryArray::from_iter_values(&images));
    let ctx = toy_session(vec![("crops", table(array))]).await;
    let inner = "SELECT image, read_text(image) AS r FROM crops";
    let table = [
        ("SELECT read_text(image).text FROM crops".to_owned(), 20),
        ("SELECT read_text(image).text, read_text(image).confidence FROM crops".to_owned(), 20),
        (format!("SELECT r.text, r.confidence, r.chars FROM ({inner})"), 20),
        ("SELECT read_text(image).error FROM crops WHERE image IS NULL".to_owned(), 0),
        (
            "SELECT avg(read_text(image).confidence), max(read_text(image).score) FROM crops"
                .to_owned(),
            20,
        ),
        // Different options are different calls.
        (
            "SELECT read_text(image).text, read_text(image, {'beam': 3}).text FROM crops"
                .to_owned(),
            40,
        ),
    ];
    for (query, expected) in table {
        let before = Counts::now();
        run(&ctx, &query).await.unwrap();
        let after = Counts::now();
        assert_eq!(after.recognized - before.recognized, expected, "{query}");
        assert_eq!(after.failed, before.failed, "{query}");
    }
}
