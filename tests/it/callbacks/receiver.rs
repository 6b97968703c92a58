//! A partner's endpoint, written by hand so that it can misbehave.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What a receiver does with a request.
#[derive(Clone)]
pub enum Reply {
    /// Answers with this status and body.
    Status(u16, &'static str),
    /// The same after a while.
    Late(Duration, u16),
    /// Answers with this head and body, byte for byte.
    Raw(String),
    /// Never answers.
    Hang,
    /// Answers 200 and goes on sending up to so many bytes.
    Stream(usize),
    /// Answers 200, then a byte now and then for ever.
    Drip,
    /// Sends a byte of the head now and then, for ever.
    DripHead,
    /// Closes the connection.
    Close,
}

/// One request that came.
#[derive(Clone)]
pub struct Request {
    pub head: HeaderMap,
    pub body: String,
    pub path: String,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.head[name].to_str().unwrap()
    }

    /// The `webhook-id`.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

type Behaviour = dyn Fn(&Request) -> Reply + Send + Sync;

/// A listening receiver; it ends with the test.
pub struct Receiver {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    /// Bytes of answers that were taken from it.
    pub sent: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub async fn answering(status: u16) -> Receiver {
        Receiver::new(move |_| Reply::Status(status, "")).await
    }

    pub async fn new(behaviour: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}/hook", listener.local_addr().unwrap().port());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (sent, connections) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(listen(
            listener,
            requests.clone(),
            sent.clone(),
            connections.clone(),
            Arc::new(behaviour),
        ));
        Receiver { url, requests, sent, connections, task }
    }

    /// All that came, in the order of their arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn listen(
    listener: TcpListener,
    requests: Arc<Mutex<Vec<Request>>>,
    sent: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    behaviour: Arc<Behaviour>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.fetch_add(1, Ordering::SeqCst);
        let (requests, sent, behaviour) = (requests.clone(), sent.clone(), behaviour.clone());
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let Some(request) = read(&mut stream).await else { return };
            let reply = {
                let mut requests = requests.lock().unwrap();
                requests.push(request.clone());
                behaviour(&request)
            };
            let _ = answer(stream.into_inner(), reply, &sent).await; // the sender may be gone
        });
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut head = HeaderMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        head.insert(
            HeaderName::try_from(name.to_lowercase()).unwrap(),
            HeaderValue::try_from(value).unwrap(),
        );
    }
    let length = head.get("content-length")?.to_str().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { head, body: String::from_utf8(body).unwrap(), path })
}

async fn answer(mut stream: TcpStream, reply: Reply, sent: &AtomicUsize) -> std::io::Result<()> {
    const ENDLESS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
    match reply {
        Reply::Status(status, body) => plain(&mut stream, status, body).await?,
        Reply::Late(after, status) => {
            sleep(after).await;
            plain(&mut stream, status, "").await?;
        }
        Reply::Raw(answer) => stream.write_all(answer.as_bytes()).await?,
        Reply::Hang => sleep(Duration::from_secs(600)).await,
        Reply::Stream(bytes) => {
            stream.write_all(ENDLESS.as_bytes()).await?;
            let chunk = vec![b'x'; 64 * 1024];
            while sent.load(Ordering::SeqCst) < bytes {
                stream.write_all(&chunk).await?;
                sent.fetch_add(chunk.len(), Ordering::SeqCst);
            }
        }
        Reply::Drip => {
            stream.write_all(ENDLESS.as_bytes()).await?;
            drip(&mut stream).await?;
        }
        Reply::DripHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ").await?;
            drip(&mut stream).await?;
        }
        Reply::Close => {}
    }
    Ok(())
}

async fn plain(stream: &mut TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await
}

async fn drip(stream: &mut TcpStream) -> std::io::Result<()> {
    loop {
        stream.write_all(b"x").await?;
        sleep(Duration::from_millis(50)).await;
    }
}
