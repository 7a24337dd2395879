//! Of a batch of large images only a few are decoded at a time.

mod support;

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryArray};

use support::{png, run, table, toy_session};

/// The most memory of the process so far in bytes.
#[cfg(target_os = "linux")]
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn decoded_images_do_not_pile_up() {
    const IMAGES: usize = 80;
    let image = png(1, 2400, 1600);
    let decoded = 2400 * 1600 * 3;
    let images =
        |count| -> ArrayRef { Arc::new(BinaryArray::from_iter_values(vec![&image; count])) };
    let ctx = toy_session(vec![("one", table(images(1))), ("crops", table(images(IMAGES)))]).await;
    run(&ctx, "SELECT read_text(image).text FROM one").await.unwrap();
    let before = peak();
    run(&ctx, "SELECT read_text(image).text FROM crops").await.unwrap();
    let grown = peak() - before;
    // All of them take 920 MB.
    assert!(grown < IMAGES * decoded / 4, "{grown} bytes");
}
