//! A scheduler and two executors as processes: the rows of a query are those of the library, also when
//! an executor is killed.

#[path = "../../datafusion/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, BinaryArray, Int32Array, RecordBatch};
use datafusion::parquet::arrow::ArrowWriter;

use support::{batch, png, pngs, toy, toy_recognizer};

const PROGRAM: &str = env!("CARGO_BIN_EXE_svtrv2-ballista");

/// Processes that end with the test.
struct Cluster {
    scheduler: u16,
    processes: Vec<Child>,
}

impl Cluster {
    fn start(folder: &Path) -> Self {
        let ports = free_ports();
        let mut cluster = Cluster { scheduler: ports, processes: Vec::new() };
        let port = ports.to_string();
        // An executor that is silent for ten seconds is dead.
        cluster.spawn(ports, &["scheduler", "--port", &port, "--executor-timeout", "10"]);
        for executor in [2, 4] {
            let own = (ports + executor).to_string();
            let work = folder.join(&own);
            fs::create_dir(&work).unwrap();
            let work = work.to_str().unwrap();
            let arguments =
                ["executor", "--port", &own, "--scheduler-port", &port, "--work-dir", work];
            let rest = ["--cores", "1", "--heartbeat", "1"];
            cluster.spawn(ports + executor, &[&arguments[..], &rest[..]].concat());
        }
        cluster
    }

    /// Starts a process and waits until it listens.
    fn spawn(&mut self, port: u16, arguments: &[&str]) {
        let mut command = Command::new(PROGRAM);
        self.processes.push(command.args(arguments).stdout(Stdio::null()).spawn().unwrap());
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "{arguments:?} does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn query(&self, query: &str) -> Child {
        let scheduler = format!("df://127.0.0.1:{}", self.scheduler);
        let settings = format!(
            "SET datafusion.execution.target_partitions = 8; SET svtrv2.weights = '{}'; \
             SET svtrv2.charset = 'english'; ",
            toy().display()
        );
        Command::new(PROGRAM)
            .args(["sql", "--scheduler", &scheduler, &(settings + query)])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn kill_an_executor(&mut self) {
        let mut executor = self.processes.pop().unwrap();
        executor.kill().unwrap();
        executor.wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The first of six ports in a row that nobody uses.
fn free_ports() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let seed = std::process::id() as u16 % 1000 * 20 + 20_000;
    (seed..60_000).step_by(6).find(|&first| (first..first + 6).all(is_free)).unwrap()
}

/// Eight files of images with numbers.
fn write_crops(folder: &Path, images: &[Vec<u8>]) -> String {
    let crops = folder.join("crops");
    fs::create_dir(&crops).unwrap();
    for (file, rows) in images.chunks(images.len().div_ceil(8)).enumerate() {
        let first = (file * images.len().div_ceil(8)) as i32;
        let ids: ArrayRef =
            Arc::new(Int32Array::from_iter_values(first..first + rows.len() as i32));
        let column: ArrayRef = Arc::new(BinaryArray::from_iter_values(rows));
        let table = RecordBatch::try_from_iter([("id", ids), ("image", column)]).unwrap();
        let out = File::create(crops.join(format!("{file}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(out, table.schema(), None).unwrap();
        writer.write(&table).unwrap();
        writer.close().unwrap();
    }
    format!("{}/", crops.display())
}

/// The texts of JSON lines by their numbers.
fn texts(output: Output) -> BTreeMap<i64, String> {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        (row["id"].as_i64().unwrap(), row["text"].as_str().unwrap_or("error").to_owned())
    };
    let rows: Vec<_> = lines.lines().map(row).collect();
    let found: BTreeMap<_, _> = rows.iter().cloned().collect();
    assert_eq!(found.len(), rows.len(), "a row came twice");
    found
}

fn expected(images: &[Vec<u8>]) -> BTreeMap<i64, String> {
    let texts = batch(&toy_recognizer(), images).into_iter().map(|recognition| recognition.text);
    (0..).zip(texts).collect()
}

#[test]
fn two_executors_give_the_rows_of_the_library() {
    let folder = tempfile::tempdir().unwrap();
    let mut images = pngs(200);
    let crops = write_crops(folder.path(), &images);
    let cluster = Cluster::start(folder.path());
    let query = format!("SELECT id, read_text(image).text AS text FROM '{crops}'");
    let found = texts(cluster.query(&query).wait_with_output().unwrap());
    assert_eq!(found, expected(&images));
    // The argument of a call travels too.
    let query = format!(
        "SELECT id, read_text(image, options => {{'allow': '7'}}).text AS text FROM '{crops}'"
    );
    let sevens = texts(cluster.query(&query).wait_with_output().unwrap());
    assert_eq!(sevens.len(), 200);
    assert!(sevens.values().all(|text| text.trim_matches('7').is_empty()));
    // A damaged image is a row with an error.
    images[17].truncate(30);
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let crops = write_crops(&other, &images);
    let query = format!(
        "SELECT id, coalesce(r.text, 'error') AS text \
         FROM (SELECT id, read_text(image) AS r FROM '{crops}')"
    );
    let found = texts(cluster.query(&query).wait_with_output().unwrap());
    assert_eq!(found.values().filter(|text| *text == "error").count(), 1);
    assert_eq!(found[&17], "error");
}

#[test]
fn a_query_survives_an_executor_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    // Large images, so that the query takes some seconds.
    let page = png(5, 1600, 1200);
    let images: Vec<Vec<u8>> = vec![page; 320];
    let crops = write_crops(folder.path(), &images);
    let mut cluster = Cluster::start(folder.path());
    let query = format!("SELECT id, read_text(image).text AS text FROM '{crops}'");
    let mut client = cluster.query(&query);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(client.try_wait().unwrap().is_none(), "the query was over too soon");
    cluster.kill_an_executor();
    let found = texts(client.wait_with_output().unwrap());
    let text = expected(&images[..1]).remove(&0).unwrap();
    assert_eq!(found.len(), images.len());
    assert!(found.values().all(|own| *own == text));
}
