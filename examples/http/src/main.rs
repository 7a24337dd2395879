//! An HTTP service: `cargo run --release -p svtrv2-http -- WEIGHTS 127.0.0.1:8080`, then
//! `curl --data-binary @crop.png http://127.0.0.1:8080/recognize`. With `?words_by_gaps=true` words end
//! at wide gaps too, for networks without a space symbol.
//!
//! Recognition computes for milliseconds to seconds, so it must not run on the threads of the
//! asynchronous runtime. One thread owns the recogniser, takes what waits in a bounded queue, and
//! recognises it as one batch on rayon's threads. A full queue is answered at once with status 503.

use std::error::Error;
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::post;
use serde_json::{Value, json};
use svtrv2::{Crop, Recognition, Recognizer, Rect};
use tokio::sync::{mpsc, oneshot};

/// Requests that may wait; more are refused.
const QUEUE: usize = 64;
/// Requests that are recognised together.
const BATCH: usize = 16;
/// The largest image file, in bytes.
const BODY_LIMIT: usize = 8 << 20;

/// An image file, and where the result goes.
struct Job {
    image: Bytes,
    reply: oneshot::Sender<svtrv2::Result<Recognition>>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(weights), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: svtrv2-http WEIGHTS ADDRESS:PORT".into());
    };
    let service = service(Recognizer::open(weights)?);
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let stop = async {
        // A process that cannot listen for Ctrl-C goes on until it is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    axum::serve(listener, service).with_graceful_shutdown(stop).await?;
    Ok(())
}

fn service(recognizer: Recognizer) -> Router {
    let (queue, jobs) = mpsc::channel(QUEUE);
    thread::spawn(move || work(&recognizer, jobs));
    Router::new()
        .route("/recognize", post(recognize))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(queue)
}

/// Answers jobs until all senders of the queue are gone.
fn work(recognizer: &Recognizer, mut jobs: mpsc::Receiver<Job>) {
    let mut batch = Vec::new();
    while jobs.blocking_recv_many(&mut batch, BATCH) > 0 {
        let mut crops = Vec::new();
        let mut replies = Vec::new();
        for Job { image, reply } in batch.drain(..) {
            match Crop::decode(&image) {
                Ok(crop) => {
                    crops.push(crop);
                    replies.push(reply);
                }
                // A client that has gone away does not take its reply.
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        for (reply, recognition) in replies.into_iter().zip(recognizer.recognize_batch(&crops)) {
            drop(reply.send(recognition));
        }
    }
}

/// The body is a PNG or JPEG file.
async fn recognize(
    State(queue): State<mpsc::Sender<Job>>,
    RawQuery(query): RawQuery,
    image: Bytes,
) -> Result<Json<Value>, (StatusCode, String)> {
    let words_by_gaps = match query.as_deref() {
        None | Some("" | "words_by_gaps=false") => false,
        Some("words_by_gaps=true") => true,
        Some(other) => {
            let message = format!("the query is words_by_gaps=true or =false, not {other:?}");
            return Err((StatusCode::BAD_REQUEST, message));
        }
    };
    let (reply, result) = oneshot::channel();
    queue
        .try_send(Job { image, reply })
        .map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    match result.await {
        Ok(Ok(recognition)) => Ok(Json(to_json(&recognition, words_by_gaps))),
        Ok(Err(error @ svtrv2::Error::Image(_))) => {
            Err((StatusCode::UNPROCESSABLE_ENTITY, error.report().to_string()))
        }
        Ok(Err(error)) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.report().to_string())),
        Err(_) => Err((StatusCode::INTERNAL_SERVER_ERROR, "the worker has stopped".to_owned())),
    }
}

fn to_json(recognition: &Recognition, words_by_gaps: bool) -> Value {
    let chars: Vec<Value> = recognition
        .chars
        .iter()
        .map(|c| json!({"symbol": c.symbol, "confidence": c.confidence}))
        .collect();
    let words = match words_by_gaps {
        true => recognition.words_by_gaps(Recognition::WORD_GAP),
        false => recognition.words(),
    };
    let words: Vec<Value> = words
        .iter()
        .map(|w| {
            let Rect { x0, x1, y0, y1 } = w.bounds;
            json!({
                "text": w.text, "confidence": w.confidence,
                "x0": x0, "x1": x1, "y0": y0, "y1": y1,
                "quad": w.quad.0.map(|corner| [corner.x, corner.y]),
                "chars": [w.chars.start, w.chars.end],
                "follows_gap": w.follows_gap,
            })
        })
        .collect();
    json!({
        "text": recognition.text, "confidence": recognition.confidence,
        "chars": chars, "words": words,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use svtrv2::weights::Weights;
    use svtrv2::{Charset, Options};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// The status line and the body of the answer to one request.
    async fn post(service: Router, path: &str, body: &[u8]) -> (String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn answers_as_the_recogniser_does() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let weights = Weights::open(root.join("tests/fixtures/toy_bare.pth")).unwrap();
        let options = Options { charset: Some(Charset::english()), ..Options::default() };
        let recognizer = Recognizer::new(&weights, options).unwrap();
        let image = std::fs::read(root.join("examples/crops/harbour.png")).unwrap();
        let expected = recognizer.recognize(Crop::decode(&image).unwrap()).unwrap();
        assert!(!expected.words().is_empty());
        let service = service(recognizer);

        for (path, words_by_gaps) in [
            ("/recognize", false),
            ("/recognize?words_by_gaps=false", false),
            ("/recognize?words_by_gaps=true", true),
        ] {
            let (status, body) = post(service.clone(), path, &image).await;
            assert_eq!(status, "HTTP/1.1 200 OK");
            assert_eq!(body, to_json(&expected, words_by_gaps).to_string());
            let body: Value = serde_json::from_str(&body).unwrap();
            let words = match words_by_gaps {
                true => expected.words_by_gaps(Recognition::WORD_GAP),
                false => expected.words(),
            };
            let texts = words.iter().map(|word| word.text.as_str());
            let found = body["words"].as_array().unwrap().iter();
            assert!(found.map(|word| word["text"].as_str().unwrap()).eq(texts), "{path}: {body}");
        }

        let (status, body) = post(service.clone(), "/recognize?words_by_gaps=1", &image).await;
        assert_eq!(status, "HTTP/1.1 400 Bad Request", "{body}");

        let (status, body) = post(service, "/recognize", b"no image").await;
        assert_eq!(status, "HTTP/1.1 422 Unprocessable Entity", "{body}");
    }
}
