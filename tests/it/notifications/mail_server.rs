//! A mail server that fits on two pages: takes, refuses, puts off, hangs up, or is not there.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What it does with a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Takes it.
    Takes,
    /// Answers this to the recipient.
    Answers(&'static str),
    /// Takes it and hangs up before it says so.
    TakesAndHangsUp,
    /// Says nothing to the recipient, ever.
    IsSilent,
}

/// How it protects its connections.
#[derive(Clone)]
pub enum Protection {
    None,
    /// From the first byte.
    Tls(TlsAcceptor),
    /// From STARTTLS on.
    StartTls(TlsAcceptor),
}

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Received {
    pub to: String,
    /// Headers and body, as they were sent.
    pub text: String,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        let headers = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let prefix = format!("{name}: ");
        headers.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
    }

    pub fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default()
    }
}

/// The server; it is gone when dropped.
pub struct MailServer {
    port: u16,
    shared: Arc<Shared>,
    protection: Protection,
    up: Option<(JoinHandle<()>, watch::Sender<()>)>,
}

struct Shared {
    mood: Mutex<Mood>,
    received: Mutex<Vec<Received>>,
    logins: Mutex<Vec<String>>,
    connections: Mutex<u32>,
}

impl MailServer {
    pub async fn start() -> MailServer {
        MailServer::protected(Protection::None).await
    }

    pub async fn protected(protection: Protection) -> MailServer {
        let shared = Shared {
            mood: Mutex::new(Mood::Takes),
            received: Mutex::default(),
            logins: Mutex::default(),
            connections: Mutex::default(),
        };
        let mut server = MailServer { port: 0, shared: Arc::new(shared), protection, up: None };
        server.restart().await;
        server
    }

    /// Is there again, on the same port.
    pub async fn restart(&mut self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let (alive, ends) = watch::channel(());
        self.up =
            Some((tokio::spawn(accept(listener, self.shared.clone(), self.protection.clone(), ends)), alive));
    }

    /// Is not there any more, and neither are its connections.
    pub async fn stop(&mut self) {
        if let Some((accepting, alive)) = self.up.take() {
            drop(alive);
            accepting.abort();
            let _ = accepting.await;
        }
    }

    pub fn url(&self) -> String {
        format!("smtp://{}", self.address())
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// What was said after `AUTH`, each time.
    pub fn logins(&self) -> Vec<String> {
        self.shared.logins.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub fn connections(&self) -> u32 {
        *self.shared.connections.lock().unwrap()
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    protection: Protection,
    ends: watch::Receiver<()>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        *shared.connections.lock().unwrap() += 1;
        let (shared, protection, mut ends) = (shared.clone(), protection.clone(), ends.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = serve(stream, shared, protection) => {}
                _ = ends.changed() => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, protection: Protection) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match protection {
        Protection::None => {
            let mut stream = BufReader::new(stream);
            say(&mut stream, "220 test").await?;
            talk(&mut stream, &shared, &["8BITMIME"]).await?;
        }
        Protection::Tls(acceptor) => {
            let mut stream = BufReader::new(acceptor.accept(stream).await?);
            say(&mut stream, "220 test").await?;
            talk(&mut stream, &shared, &["8BITMIME", "AUTH PLAIN"]).await?;
        }
        Protection::StartTls(acceptor) => {
            let mut stream = BufReader::new(stream);
            say(&mut stream, "220 test").await?;
            if talk(&mut stream, &shared, &["8BITMIME", "STARTTLS"]).await? == End::StartTls {
                let mut stream = BufReader::new(acceptor.accept(stream.into_inner()).await?);
                talk(&mut stream, &shared, &["8BITMIME", "AUTH PLAIN"]).await?;
            }
        }
    }
    Ok(())
}

/// How a talk ended.
#[derive(PartialEq, Eq)]
enum End {
    Quit,
    StartTls,
}

async fn talk<S>(stream: &mut S, shared: &Shared, extensions: &[&str]) -> io::Result<End>
where
    S: AsyncBufRead + AsyncWrite + Unpin,
{
    let mut to = String::new();
    loop {
        let line = read_line(stream).await?;
        let mood = *shared.mood.lock().unwrap();
        match line.get(..4).unwrap_or(&line).to_ascii_uppercase().as_str() {
            "" => return Ok(End::Quit),
            "EHLO" => {
                for extension in extensions {
                    say(stream, &format!("250-{extension}")).await?;
                }
                say(stream, "250 SIZE").await?;
            }
            "STAR" if extensions.contains(&"STARTTLS") => {
                say(stream, "220 go on").await?;
                return Ok(End::StartTls);
            }
            "AUTH" => {
                shared.logins.lock().unwrap().push(line[4..].trim().to_owned());
                say(stream, "235 welcome").await?;
            }
            "RCPT" => match mood {
                Mood::Answers(answer) => say(stream, answer).await?,
                Mood::IsSilent => std::future::pending().await,
                Mood::Takes | Mood::TakesAndHangsUp => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    say(stream, "250 ok").await?;
                }
            },
            "DATA" => {
                say(stream, "354 go on").await?;
                let text = read_mail(stream).await?;
                shared.received.lock().unwrap().push(Received { to: to.clone(), text });
                if mood == Mood::TakesAndHangsUp {
                    return Ok(End::Quit);
                }
                say(stream, "250 taken").await?;
            }
            "QUIT" => {
                say(stream, "221 bye").await?;
                return Ok(End::Quit);
            }
            _ => say(stream, "250 ok").await?,
        }
    }
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), line: &str) -> io::Result<()> {
    writer.write_all(format!("{line}\r\n").as_bytes()).await?;
    writer.flush().await
}

async fn read_line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

/// Up to the line with a dot, without the dots that were doubled.
async fn read_mail(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut text = String::new();
    loop {
        let line = read_line(reader).await?;
        if line == "." {
            return Ok(text);
        }
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
        text.push_str("\r\n");
    }
}
