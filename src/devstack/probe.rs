//! Checks that a server is ready: not only that its port is open, but that it does its work.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const ATTEMPT: Duration = Duration::from_secs(2);
/// Bytes that are read of an answer.
const ANSWER_LIMIT: usize = 64 * 1024;

/// How to find out whether a server is ready.
#[derive(Debug, Clone)]
pub(crate) enum Probe {
    /// Logs in and asks for a row.
    Postgres {
        url: String,
    },
    Redis {
        port: u16,
        password: String,
    },
    /// Logs in and asks JetStream for its streams, which one that hangs does not answer.
    Nats {
        port: u16,
        user: &'static str,
        password: String,
    },
    /// Answers 200 to a GET.
    Http {
        address: SocketAddr,
        path: &'static str,
    },
    Tcp {
        port: u16,
    },
}

impl Probe {
    /// Tries once.
    pub(crate) async fn attempt(&self) -> Result<(), String> {
        let attempt = async {
            match self {
                Probe::Postgres { url } => postgres(url).await,
                Probe::Redis { port, password } => {
                    let hello = format!("AUTH {password}\r\nPING\r\n");
                    converse(("127.0.0.1", *port), &hello, "+PONG").await
                }
                Probe::Nats { port, user, password } => {
                    converse(("127.0.0.1", *port), &nats_hello(user, password), "stream_list_response").await
                }
                Probe::Http { address, path } => {
                    let request =
                        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
                    converse(*address, &request, "HTTP/1.1 200 ").await
                }
                Probe::Tcp { port } => {
                    TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).await.map(drop).map_err(to_text)
                }
            }
        };
        timeout(ATTEMPT, attempt).await.unwrap_or_else(|_| Err("no answer".to_owned()))
    }
}

fn nats_hello(user: &str, password: &str) -> String {
    format!(
        "CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"verbose\":false,\"pedantic\":false}}\r\n\
         SUB _INBOX.ready 1\r\nPUB $JS.API.STREAM.LIST _INBOX.ready 0\r\n\r\n"
    )
}

async fn postgres(url: &str) -> Result<(), String> {
    let mut connection = PgConnection::connect(url).await.map_err(|error| error.to_string())?;
    sqlx::query("select 1").execute(&mut connection).await.map_err(|error| error.to_string())?;
    connection.close().await.map_err(|error| error.to_string())
}

/// Sends `hello` and reads until `wanted` is found.
async fn converse(address: impl tokio::net::ToSocketAddrs, hello: &str, wanted: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).await.map_err(to_text)?;
    stream.write_all(hello.as_bytes()).await.map_err(to_text)?;
    let mut received = Vec::new();
    while received.len() < ANSWER_LIMIT && stream.read_buf(&mut received).await.map_err(to_text)? > 0 {
        if String::from_utf8_lossy(&received).contains(wanted) {
            return Ok(());
        }
    }
    let received = String::from_utf8_lossy(&received);
    Err(format!("it answered {:?}", received.lines().last().unwrap_or_default()))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn to_text(error: io::Error) -> String {
    error.to_string()
}
