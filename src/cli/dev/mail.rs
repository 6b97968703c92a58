//! `offers dev mail`: the mails that a service of `./dev` has written to files, decoded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Directory;
use crate::cli::output::Outcome;
use crate::cli::table;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The number of a mail in the list: prints it, decoded
    number: Option<usize>,
    #[command(flatten)]
    directory: Directory,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let dir = args.directory.dir.join("mail");
    let mails = mails(&dir)?;
    let Some(number) = args.number else {
        let rows: Vec<Value> = (1..).zip(&mails).map(|(number, mail)| mail.row(number)).collect();
        let text = table::rows(&rows, &["number", "date", "to", "subject"]);
        return Outcome::done(text, json!({"results": rows}));
    };
    let Some(mail) = number.checked_sub(1).and_then(|index| mails.get(index)) else {
        bail!("there is no mail {number} in {}; it has {}", dir.display(), mails.len());
    };
    Outcome::done(mail.text(), mail.row(number))
}

/// Oldest first.
fn mails(dir: &Path) -> anyhow::Result<Vec<Mail>> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|file| file.path());
    let mut files: Vec<(SystemTime, PathBuf)> = files
        .filter(|path| path.extension().is_some_and(|ending| ending == "eml"))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    files.sort();
    let read = |(_, path): (SystemTime, PathBuf)| {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Mail::parse(&String::from_utf8_lossy(&bytes)))
    };
    files.into_iter().map(read).collect()
}

/// The fields of the head in their order, and the body.
struct Mail {
    head: Vec<(String, String)>,
    body: String,
}

impl Mail {
    fn parse(text: &str) -> Self {
        let text = text.replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let unfolded = head.replace("\n ", " ").replace("\n\t", " ");
        let fields = unfolded.lines().filter_map(|line| line.split_once(": "));
        let head: Vec<_> = fields.map(|(name, value)| (name.to_owned(), words(value))).collect();
        let mail = Self { head, body: String::new() };
        let body = match mail.field("Content-Transfer-Encoding") {
            "quoted-printable" => quoted_printable(body, false),
            "base64" => base64(body).unwrap_or_else(|| body.to_owned()),
            _ => body.to_owned(),
        };
        Self { body, ..mail }
    }

    fn field(&self, name: &str) -> &str {
        let field = self.head.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        field.map_or("", |(_, value)| value)
    }

    fn row(&self, number: usize) -> Value {
        json!({
            "number": number, "date": self.field("Date"), "from": self.field("From"), "to": self.field("To"),
            "subject": self.field("Subject"), "body": self.body,
        })
    }

    fn text(&self) -> String {
        let shown = ["Date", "From", "To", "Subject"].map(|name| format!("{name}: {}", self.field(name)));
        format!("{}\n\n{}", shown.join("\n"), self.body)
    }
}

/// Decodes the encoded words of a field (RFC 2047); space between two of them is none of the text.
fn words(value: &str) -> String {
    let mut decoded = String::new();
    let mut rest = value;
    while let Some((before, from)) = rest.split_once("=?") {
        let Some((word, after)) = encoded_word(from) else { break };
        if !before.trim().is_empty() || decoded.is_empty() {
            decoded.push_str(before);
        }
        decoded.push_str(&word);
        rest = after;
    }
    decoded + rest
}

/// `utf-8?q?…?=` and what follows.
fn encoded_word(text: &str) -> Option<(String, &str)> {
    let (_charset, text) = text.split_once('?')?;
    let (encoding, text) = text.split_once('?')?;
    let (word, after) = text.split_once("?=")?;
    let word = match encoding {
        "q" | "Q" => quoted_printable(&word.replace('_', " "), true),
        _ => base64(word)?,
    };
    Some((word, after))
}

fn base64(text: &str) -> Option<String> {
    let compact: String = text.split_whitespace().collect();
    Some(String::from_utf8_lossy(&STANDARD.decode(compact).ok()?).into_owned())
}

/// RFC 2045; in a word of a field no line is continued.
fn quoted_printable(text: &str, is_word: bool) -> String {
    let text = if is_word { text.to_owned() } else { text.replace("=\n", "") };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code =
            after.get(..2).and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        match code.filter(|_| *first == b'=') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_decoded() {
        let mail = Mail::parse(
            "From: Offers <offers@localhost>\r\nSubject: =?utf-8?b?RsO8ciA=?= =?utf-8?q?Jos=C3=A9_ok?= now\r\n\
             To: a@example.com,\r\n b@example.com\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
             5 =E2=82=AC and a long =\r\nline\r\n",
        );
        assert_eq!(mail.field("subject"), "Für José ok now");
        assert_eq!(mail.field("To"), "a@example.com, b@example.com");
        assert_eq!(mail.body, "5 € and a long line\n");
        assert!(mail.text().starts_with("Date: \nFrom: Offers <offers@localhost>\n"), "{}", mail.text());
        let encoded = Mail::parse("Content-Transfer-Encoding: base64\n\n4oKs\nIDU=\n");
        assert_eq!(encoded.body, "€ 5");
    }
}
