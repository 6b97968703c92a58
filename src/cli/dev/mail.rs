//! `offers dev mail`: the mails that a service of `./dev` has written to files, decoded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use mail_parser::{Address, MessageParser};
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
        Ok(Mail::parse(&bytes))
    };
    files.into_iter().map(read).collect()
}

/// A mail, decoded.
#[derive(Default)]
struct Mail {
    date: String,
    from: String,
    to: String,
    subject: String,
    body: String,
}

impl Mail {
    /// What is missing or no mail at all is empty.
    fn parse(bytes: &[u8]) -> Self {
        let Some(mail) = MessageParser::default().parse(bytes) else { return Self::default() };
        Self {
            date: mail.date().map(mail_parser::DateTime::to_rfc822).unwrap_or_default(),
            from: addresses(mail.from()),
            to: addresses(mail.to()),
            subject: mail.subject().unwrap_or_default().to_owned(),
            body: mail.body_text(0).unwrap_or_default().into_owned(),
        }
    }

    fn row(&self, number: usize) -> Value {
        let Self { date, from, to, subject, body } = self;
        json!({"number": number, "date": date, "from": from, "to": to, "subject": subject, "body": body})
    }

    fn text(&self) -> String {
        let Self { date, from, to, subject, body } = self;
        format!("Date: {date}\nFrom: {from}\nTo: {to}\nSubject: {subject}\n\n{body}")
    }
}

fn addresses(field: Option<&Address>) -> String {
    let each = field.into_iter().flat_map(Address::iter).filter_map(|one| {
        let address = one.address()?;
        Some(one.name().map_or_else(|| address.to_owned(), |name| format!("{name} <{address}>")))
    });
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_is_decoded() {
        let mail = Mail::parse(
            "Date: Sat, 28 Nov 2026 03:51:06 +0000\r\nFrom: Offers <offers@localhost>\r\n\
             Subject: =?utf-8?b?RsO8ciA=?= =?utf-8?q?Jos=C3=A9_ok?= now\r\nTo: a@example.com,\r\n b@example.com\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
             5 =E2=82=AC and a long =\r\nline\r\n"
                .as_bytes(),
        );
        let text = "Date: Sat, 28 Nov 2026 03:51:06 +0000\nFrom: Offers <offers@localhost>\nTo: a@example.com, b@example.com\n\
                    Subject: Für José ok now\n\n5 € and a long line\n";
        assert_eq!(mail.text().replace('\r', ""), text);
        let encoded = Mail::parse(b"Content-Transfer-Encoding: base64\n\n4oKs\nIDU=\n");
        assert_eq!(encoded.body, "€ 5");
        assert_eq!(Mail::parse(b"").text(), "Date: \nFrom: \nTo: \nSubject: \n\n");
    }
}
