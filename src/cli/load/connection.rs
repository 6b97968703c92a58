//! One keep-alive connection to the service, without a pool or a parser of its own: the generator must
//! cost little beside what it measures.

use std::time::Duration;

use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// From the start of a call to the last byte of its answer; longer than the service's longest wait.
const CALL_TIMEOUT: Duration = Duration::from_secs(40);

/// Bytes of an answer.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// Where the service is.
#[derive(Debug, Clone)]
pub(super) struct Target {
    authority: String,
    prefix: String,
    host: HeaderValue,
}

impl Target {
    /// `url` is the service's, without `/api/v1`.
    pub(super) fn parse(url: &str) -> anyhow::Result<Target> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is not a URL"))?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            bail!("{url}: load is made from nearby and speaks plain http:// only");
        };
        let port = authority.port_u16().unwrap_or(80);
        Ok(Target {
            authority: format!("{}:{port}", authority.host()),
            prefix: format!("{}/api/v1", uri.path().trim_end_matches('/')),
            host: HeaderValue::from_str(authority.as_str())?,
        })
    }
}

/// A call to make.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// Below `/api/v1`.
    pub(super) path: &'a str,
    /// The whole `Authorization` header.
    pub(super) authorization: Option<&'a HeaderValue>,
    /// One more header.
    pub(super) header: Option<(HeaderName, HeaderValue)>,
    /// JSON, or nothing.
    pub(super) body: Bytes,
}

/// An answer, read to its end.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Reply {
    pub(super) fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body).context("the answer does not parse")
    }
}

/// A connection that opens itself, again if need be.
pub(super) struct Connection {
    target: Target,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub(super) fn new(target: &Target) -> Connection {
        Connection { target: target.clone(), open: None }
    }

    /// Makes `call`; after an error the next call opens the connection anew.
    pub(super) async fn call(&mut self, call: Call<'_>) -> anyhow::Result<Reply> {
        let request = self.request(call)?;
        let exchange = async {
            let mut sender = self.sender().await?;
            let reply = read(sender.send_request(request).await?).await?;
            self.open = Some(sender);
            anyhow::Ok(reply)
        };
        tokio::time::timeout(CALL_TIMEOUT, exchange).await.context("no answer in time")?
    }

    fn request(&self, call: Call<'_>) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.target.prefix, call.path))
            .header(HOST, &self.target.host);
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = call.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if let Some((name, value)) = call.header {
            request = request.header(name, value);
        }
        Ok(request.body(Full::new(call.body))?)
    }

    async fn sender(&mut self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        if let Some(mut open) = self.open.take()
            && open.ready().await.is_ok()
        {
            return Ok(open);
        }
        let stream = TcpStream::connect(&self.target.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection); // ends with the sender
        Ok(sender)
    }
}

async fn read(response: Response<Incoming>) -> anyhow::Result<Reply> {
    let status = response.status().as_u16();
    let body =
        Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok(Reply { status, body: body.to_bytes() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_plain_http_url() {
        let target = Target::parse("http://127.0.0.1:8080").expect("a target");
        assert_eq!((target.authority.as_str(), target.prefix.as_str()), ("127.0.0.1:8080", "/api/v1"));
        let target = Target::parse("http://offers.internal/shop/").expect("a target");
        assert_eq!(
            (target.authority.as_str(), target.prefix.as_str()),
            ("offers.internal:80", "/shop/api/v1")
        );
        for bad in ["https://x", "127.0.0.1:8080", "/x", ""] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
