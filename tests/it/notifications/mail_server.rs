//! A mail server that fits on two pages: takes, refuses, puts off, hangs up, or is not there.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

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
    up: Option<(JoinHandle<()>, watch::Sender<()>)>,
}

struct Shared {
    mood: Mutex<Mood>,
    received: Mutex<Vec<Received>>,
    connections: Mutex<u32>,
}

impl MailServer {
    pub async fn start() -> MailServer {
        let shared = Shared {
            mood: Mutex::new(Mood::Takes),
            received: Mutex::default(),
            connections: Mutex::default(),
        };
        let mut server = MailServer { port: 0, shared: Arc::new(shared), up: None };
        server.restart().await;
        server
    }

    /// Is there again, on the same port.
    pub async fn restart(&mut self) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        self.port = listener.local_addr().unwrap().port();
        let (alive, ends) = watch::channel(());
        self.up = Some((tokio::spawn(accept(listener, self.shared.clone(), ends)), alive));
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
        format!("smtp://127.0.0.1:{}", self.port)
    }

    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// How many connections there were.
    pub fn connections(&self) -> u32 {
        *self.shared.connections.lock().unwrap()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, ends: watch::Receiver<()>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        *shared.connections.lock().unwrap() += 1;
        let (shared, mut ends) = (shared.clone(), ends.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = serve(stream, shared) => {}
                _ = ends.changed() => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut to = String::new();
    say(&mut writer, "220 test").await?;
    loop {
        let line = read_line(&mut reader).await?;
        let mood = *shared.mood.lock().unwrap();
        match line.get(..4).unwrap_or(&line).to_ascii_uppercase().as_str() {
            "" => return Ok(()),
            "EHLO" => say(&mut writer, "250-test\r\n250 8BITMIME").await?,
            "RCPT" => match mood {
                Mood::Answers(answer) => say(&mut writer, answer).await?,
                Mood::IsSilent => std::future::pending().await,
                Mood::Takes | Mood::TakesAndHangsUp => {
                    to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                    say(&mut writer, "250 ok").await?;
                }
            },
            "DATA" => {
                say(&mut writer, "354 go on").await?;
                let text = read_mail(&mut reader).await?;
                shared.received.lock().unwrap().push(Received { to: to.clone(), text });
                if mood == Mood::TakesAndHangsUp {
                    return Ok(());
                }
                say(&mut writer, "250 taken").await?;
            }
            "QUIT" => return say(&mut writer, "221 bye").await,
            _ => say(&mut writer, "250 ok").await?,
        }
    }
}

async fn say(writer: &mut OwnedWriteHalf, line: &str) -> std::io::Result<()> {
    writer.write_all(format!("{line}\r\n").as_bytes()).await
}

async fn read_line(reader: &mut BufReader<OwnedReadHalf>) -> std::io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

/// Up to the line with a dot, without the dots that were doubled.
async fn read_mail(reader: &mut BufReader<OwnedReadHalf>) -> std::io::Result<String> {
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
