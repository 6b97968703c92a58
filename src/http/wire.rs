//! A client's connection as hyper sees it: a socket that gives up on a client that does not read, closes so
//! that the last answer arrives, and gives hyper's own answers our shape.
//!
//! hyper answers by itself what is not HTTP (400), a URL (414) and a head (431) that are too long. Such an
//! answer has no body and no `X-Request-Id`, which every answer of ours has: so it is recognised where it
//! is written, and a problem is written in its place. It is always the last one on its connection.

use super::context::Context as RequestContext;
use super::middleware::security;
use super::problem::{Code, Problem};
use crate::telemetry::chain;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use socket2::SockRef;
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client may read nothing of what it asked for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection that we have closed is still read, so that no reset overtakes the last answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that one read takes: less than the 8 KiB that hyper asks for at first, or its buffer would grow to 64 KiB
/// for every body that does not come at once.
const READ: u64 = 8 * 1024 - 1;
/// Bytes that are read while a connection lingers.
const MAX_LINGERED: usize = 32 * 1024 * 1024;

pub(super) struct Wire {
    stream: Take<TcpStream>,
    /// Runs while the client does not take what is written, or while the connection lingers.
    timer: Option<Pin<Box<Sleep>>>,
    /// What is written in the place of hyper's answer, and how much of it has been.
    replacement: Option<(Vec<u8>, usize)>,
    lingered: usize,
    half_closed: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: stream.take(READ), timer: None, replacement: None, lingered: 0, half_closed: false }
    }

    /// Writes; fails when nothing could be written for too long.
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match Pin::new(self.stream.get_mut()).poll_write(cx, bytes) {
            Poll::Ready(written) => {
                self.timer = None;
                Poll::Ready(written)
            }
            Poll::Pending => {
                ready!(self.wait(cx, WRITE_TIMEOUT));
                self.reset_on_close();
                Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client does not read")))
            }
        }
    }

    /// Otherwise the kernel would keep what was written for minutes, for a client that will not read it.
    fn reset_on_close(&self) {
        if let Err(error) = SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(error = %chain(&error), "SO_LINGER could not be set");
        }
    }

    /// Is ready when it was called for `limit` without anything else happening.
    fn wait(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + limit)));
        timer.as_mut().poll(cx)
    }

    /// Writes all of the replacement.
    fn replace(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while let Some((bytes, written)) = self.replacement.take() {
            if written == bytes.len() {
                break;
            }
            let step = self.write(cx, &bytes[written..]);
            let more = if let Poll::Ready(Ok(more)) = step { more } else { 0 };
            self.replacement = Some((bytes, written + more));
            ready!(step)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads and forgets what still comes, until the client closes or the patience ends.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut forgotten = [0; 16 * 1024];
        while self.lingered < MAX_LINGERED {
            let mut buffer = ReadBuf::new(&mut forgotten);
            match Pin::new(self.stream.get_mut()).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.lingered += buffer.filled().len(),
                Poll::Ready(_) => break,
                Poll::Pending => return self.wait(cx, LINGER_TIMEOUT).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        self.stream.set_limit(READ);
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.replacement.is_none() {
            match bare_answer(bytes) {
                None => return self.write(cx, bytes),
                Some((0, status)) => self.replacement = Some((problem(status), 0)),
                Some((begins, _)) => return self.write(cx, &bytes[..begins]),
            }
        }
        ready!(self.replace(cx))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(self.stream.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.half_closed {
            ready!(Pin::new(self.stream.get_mut()).poll_shutdown(cx))?;
            self.half_closed = true;
            self.timer = None;
        }
        self.linger(cx)
    }
}

/// Where hyper's own answer begins in `bytes`, if they end with one.
fn bare_answer(bytes: &[u8]) -> Option<(usize, StatusCode)> {
    let ours = bytes.strip_suffix(b"\r\n\r\n")?;
    let begins =
        [&b"HTTP/1.1 4"[..], b"HTTP/1.0 4"].into_iter().filter_map(|version| last(ours, version)).max()?;
    let head = ours[begins..].to_ascii_lowercase();
    // hyper's own has no body; the text of a body that looks like a head has no header of its own: JSON and events
    // have no carriage return.
    let is_bare = last(&head, b"\r\ncontent-length: 0").is_some() && last(&head, b"\r\n\r\n").is_none();
    let is_ours = last(&head, b"\r\nx-request-id:").is_some();
    let status = StatusCode::from_bytes(head.get(9..12)?).ok()?;
    (is_bare && !is_ours).then_some((begins, status))
}

fn last(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).rposition(|window| window == part)
}

/// The whole answer that stands for hyper's.
fn problem(status: StatusCode) -> Vec<u8> {
    let detail = match status {
        StatusCode::URI_TOO_LONG => "The URL is too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "The headers are over 80 KiB, or there are over 100",
        _ => "This is not an HTTP request",
    };
    let context = RequestContext::unread();
    let body = Problem::new(Code::InvalidRequest, detail).json(status, &context);
    let id = HeaderValue::from_str(context.request_id()).expect("a UUID is visible ASCII");
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, super::problem::PROBLEM_JSON);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(super::headers::X_REQUEST_ID, id);
    security::protect(&mut headers);
    let mut answer =
        format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or_default())
            .into_bytes();
    for (name, value) in &headers {
        answer.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    answer.extend(b"\r\n");
    answer.extend(body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const BARE: &str =
        "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn an_answer_without_a_request_id_is_hypers_own() {
        let found =
            |bytes: &str| bare_answer(bytes.as_bytes()).map(|(begins, status)| (begins, status.as_u16()));
        assert_eq!(found(BARE), Some((0, 431)));
        assert_eq!(found(&format!("the end of another answer{BARE}")), Some((25, 431)));
        let ours = "HTTP/1.1 401 Unauthorized\r\nx-request-id: 1\r\ncontent-length: 0\r\n\r\n";
        let chunk = "1e\r\ndata: \"HTTP/1.1 404 Not Found\"\n\n\r\n0\r\n\r\n"; // the end of a stream of events
        let others = ["", "HTTP/1.1 100 Continue\r\n\r\n", ours, "{\"a\": 1}", &format!("{BARE}body"), chunk];
        for other in others {
            assert_eq!(found(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_stands_for_it_is_a_problem() {
        let answer = String::from_utf8(problem(StatusCode::BAD_REQUEST)).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        for header in ["connection: close", "x-content-type-options: nosniff", "x-request-id: "] {
            assert!(head.contains(header), "{header} in {head}");
        }
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.contains("\"code\":\"invalid_request\""), "{body}");
    }
}
