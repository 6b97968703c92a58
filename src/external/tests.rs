//! The client against servers that misbehave on the wire.

use std::future::Future;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const ID: Uuid = Uuid::from_u128(7);
const MAX: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_millis(400);

/// A client of a server that does `answer` on each connection, once a whole request has arrived.
async fn client_of<F>(answer: fn(TcpStream, String) -> F) -> ActivationSystem
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let request = read_request(&mut stream).await;
                answer(stream, request).await;
            });
        }
    });
    client(&format!("http://{address}"))
}

fn client(base_url: &str) -> ActivationSystem {
    let settings = Settings { timeout: TIMEOUT, ..Settings::new(base_url) };
    ActivationSystem::new(&settings).expect("valid settings")
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = vec![0; 16 * 1024];
    let mut length = 0;
    loop {
        let read = stream.read(&mut bytes[length..]).await.unwrap_or(0);
        length += read;
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        // A request of this client ends with its JSON body, or with its head if it has none.
        let whole = text.ends_with('}') || (text.ends_with("\r\n\r\n") && !text.contains("content-type"));
        if read == 0 || whole {
            return text;
        }
    }
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn activated(id: Uuid) -> String {
    format!(r#"{{"transaction_id":"{id}","status":"activated","reference":"EXT-1"}}"#)
}

fn request() -> Request<'static> {
    Request {
        transaction_id: ID,
        user_id: Uuid::from_u128(8),
        offer_id: Uuid::from_u128(9),
        amount: "19.99".to_owned(),
        kind: "activation",
    }
}

async fn activate(system: &ActivationSystem) -> Activation {
    system.activate(&request(), None).await
}

fn inconclusive(evidence: Evidence, detail: &str) -> Inconclusive {
    Inconclusive { evidence, detail: detail.to_owned(), retry_after: None }
}

fn unanswered(detail: &str) -> Activation {
    Activation::Inconclusive(inconclusive(Evidence::SentNoAnswer, detail))
}

fn answered(detail: &str) -> Activation {
    Activation::Inconclusive(inconclusive(Evidence::Answered, detail))
}

#[tokio::test]
async fn a_request_carries_key_trace_body_and_who_calls() {
    let system = client_of(|mut stream, request| async move {
        let (head, body) = request.split_once("\r\n\r\n").expect("a whole request");
        let head = head.to_ascii_lowercase();
        let right = head.starts_with("post /activations http/1.1\r\n")
            && head.contains(&format!("idempotency-key: {ID}\r\n"))
            && head.contains("traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n")
            && head.contains("content-type: application/json\r\n")
            && head.contains(concat!("user-agent: offers/", env!("CARGO_PKG_VERSION"), "\r\n"))
            && body
                == format!(
                    r#"{{"transaction_id":"{ID}","user_id":"{}","offer_id":"{}","amount":"19.99","kind":"activation"}}"#,
                    Uuid::from_u128(8),
                    Uuid::from_u128(9)
                );
        let status = if right { "200 OK" } else { "500 Wrong" };
        let _ = stream.write_all(&http(status, "", &activated(ID))).await;
    })
    .await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = system.activate(&request(), Some(traceparent)).await;
    assert_eq!(answer, Activation::Activated { reference: "EXT-1".to_owned() });
}

#[tokio::test]
async fn calls_without_a_trace_belong_to_one_of_their_transaction() {
    let system = client_of(|mut stream, request| async move {
        let head = request.to_ascii_lowercase();
        let of_transaction = format!("\r\ntraceparent: 00-{}-", ID.simple());
        let status = if head.contains(&of_transaction) { "200 OK" } else { "500 Wrong" };
        let _ = stream.write_all(&http(status, "", &activated(ID))).await;
    })
    .await;
    assert_eq!(activate(&system).await, Activation::Activated { reference: "EXT-1".to_owned() });
}

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let system = client(&format!("http://{address}"));
    let not_sent = inconclusive(Evidence::NotSent, "the connection was refused");
    assert_eq!(activate(&system).await, Activation::Inconclusive(not_sent.clone()));
    assert_eq!(system.look_up(ID, None).await, LookUp::Inconclusive(not_sent.clone()));
    assert_eq!(system.cancel(ID, None).await, Cancellation::Inconclusive(not_sent));
}

#[tokio::test]
async fn a_server_that_never_answers_is_unknown_after_the_timeout() {
    let system = client_of(|stream, _| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(activate(&system).await, unanswered("no answer within 400 ms"));
}

#[tokio::test]
async fn a_slow_drip_is_unknown_after_the_timeout() {
    let system = client_of(|mut stream, _| async move {
        for byte in http("200 OK", "", &activated(ID)) {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(activate(&system).await, unanswered("no answer within 400 ms"));
}

#[tokio::test]
async fn a_drip_that_begins_with_a_whole_head_is_unknown_too() {
    let system = client_of(|mut stream, _| async move {
        let answer = http("200 OK", "", &activated(ID));
        let _ = stream.write_all(&answer[..answer.len() - 1]).await;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(activate(&system).await, unanswered("no answer within 400 ms"));
}

#[tokio::test]
async fn a_connection_reset_before_the_answer_is_answered() {
    let system = client_of(|stream, _| async move {
        stream.set_zero_linger().expect("linger");
    })
    .await;
    assert_eq!(activate(&system).await, unanswered("the connection broke before the answer was whole"));
}

#[tokio::test]
async fn a_connection_closed_or_reset_in_mid_body_is_answered() {
    let closing = client_of(|mut stream, _| async move {
        let answer = http("200 OK", "", &activated(ID));
        let _ = stream.write_all(&answer[..answer.len() - 10]).await;
    })
    .await;
    assert_eq!(activate(&closing).await, unanswered("the connection broke before the answer was whole"));

    let resetting = client_of(|mut stream, _| async move {
        let answer = http("200 OK", "", &activated(ID));
        let _ = stream.write_all(&answer[..answer.len() - 10]).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.set_zero_linger().expect("linger");
    })
    .await;
    assert_eq!(activate(&resetting).await, unanswered("the connection broke before the answer was whole"));
}

#[tokio::test]
async fn a_body_over_64_kib_is_unknown_with_and_without_its_length() {
    let announced = client_of(|mut stream, _| async move {
        let body = format!("{}{}", " ".repeat(100 * 1024), activated(ID));
        let _ = stream.write_all(&http("200 OK", "", &body)).await;
    })
    .await;
    assert_eq!(activate(&announced).await, answered("the answer is over 64 KiB"));

    let endless = client_of(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let chunk = format!("400\r\n{}\r\n", " ".repeat(1024));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    })
    .await;
    assert_eq!(activate(&endless).await, answered("the answer is over 64 KiB"));
}

#[tokio::test]
async fn a_body_of_64_kib_is_still_read() {
    let system = client_of(|mut stream, _| async move {
        let answer = activated(ID);
        let body = format!("{}{answer}", " ".repeat(MAX - answer.len()));
        let _ = stream.write_all(&http("200 OK", "", &body)).await;
    })
    .await;
    assert!(matches!(activate(&system).await, Activation::Activated { .. }));
}

#[tokio::test]
async fn garbage_in_the_place_of_http_or_of_json_is_answered() {
    let not_http = client_of(|mut stream, _| async move {
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    })
    .await;
    assert!(matches!(activate(&not_http).await, Activation::Inconclusive(_)));

    let not_json = client_of(|mut stream, _| async move {
        let _ = stream.write_all(&http("200 OK", "", "<html>It works!</html>")).await;
    })
    .await;
    assert_eq!(activate(&not_json).await, answered("the answer does not parse"));
}

#[tokio::test]
async fn an_answer_for_another_transaction_is_answered() {
    let system = client_of(|mut stream, _| async move {
        let _ = stream.write_all(&http("200 OK", "", &activated(Uuid::from_u128(99)))).await;
    })
    .await;
    assert_eq!(activate(&system).await, answered("the answer is for another transaction"));
    let foreign = inconclusive(Evidence::Answered, "the answer is for another transaction");
    assert_eq!(system.look_up(ID, None).await, LookUp::Inconclusive(foreign));
}

#[tokio::test]
async fn a_server_error_is_unknown_and_a_redirect_is_not_followed() {
    let failing = client_of(|mut stream, _| async move {
        let _ = stream.write_all(&http("503 Service Unavailable", "retry-after: 1\r\n", "")).await;
    })
    .await;
    assert_eq!(activate(&failing).await, answered("answered with status 503"));

    let redirecting = client_of(|mut stream, _| async move {
        let _ = stream.write_all(&http("307 Temporary Redirect", "location: /elsewhere\r\n", "")).await;
    })
    .await;
    assert_eq!(activate(&redirecting).await, answered("answered with status 307"));
}

#[tokio::test]
async fn a_429_says_when_to_come_back() {
    let system = client_of(|mut stream, _| async move {
        let _ = stream.write_all(&http("429 Too Many Requests", "retry-after: 7\r\n", "")).await;
    })
    .await;
    let busy = Inconclusive {
        retry_after: Some(Duration::from_secs(7)),
        ..inconclusive(Evidence::NotTaken, "answered with status 429")
    };
    assert_eq!(activate(&system).await, Activation::Inconclusive(busy.clone()));
    assert_eq!(system.look_up(ID, None).await, LookUp::Inconclusive(busy.clone()));
    assert_eq!(system.cancel(ID, None).await, Cancellation::Inconclusive(busy));
}
