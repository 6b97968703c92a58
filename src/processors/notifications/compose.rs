//! Writes one mail, with facts from the log and the current address from identity.

use super::outbox::Notice;
use super::text::{self, Activated, Expiring, Failed, Renewed, Text, amount, moment, one_line};
use crate::event_log::{EventLog, LogError, StreamId};
use crate::identity::{self, Identity, User, mail_address};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::transaction::{self, ActivationRequested, Kind, Transaction};
use domain::user_offer::{self, UserOffer};
use domain::{AccountId, Event, Recorded, SubscriptionId, Timestamp, TransactionId};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::{Address, error::Error as MessageError};
use projections::Readers;
use std::sync::Arc;

/// Bytes of text in an encoded word, which has at most 75 characters (RFC 2047 2) and leaves room for `Subject: `.
const ENCODED_WORD_BYTES: usize = 39;

pub(super) struct Composer {
    pub(super) log: EventLog,
    pub(super) readers: Readers,
    pub(super) identity: Arc<Identity>,
    pub(super) currency: String,
    pub(super) from: Mailbox,
}

pub(super) enum Composed {
    Mail(Box<Message>),
    /// There is nobody to send it to, and why.
    NoRecipient(&'static str),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ComposeError {
    /// The database does not answer: not the fault of the mail.
    #[error("cannot read the facts of a mail")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No later attempt can succeed.
    #[error("{0}")]
    Never(&'static str),
}

impl Composer {
    pub(super) async fn compose(&self, notice: &Notice) -> Result<Composed, ComposeError> {
        let user = match self.identity.get_user(notice.user_id).await {
            Ok(user) if !user.is_active => return Ok(Composed::NoRecipient("the user is disabled")),
            Ok(user) if user.email.is_empty() => {
                return Ok(Composed::NoRecipient("the user has no mail address"));
            }
            Ok(user) => user,
            Err(identity::Error::UserNotFound) => return Ok(Composed::NoRecipient("there is no such user")),
            Err(cause) => return Err(ComposeError::Unavailable(cause.into())),
        };
        let Some(to) = mail_address(&user.email) else {
            return Ok(Composed::NoRecipient("no mail can be written to the user's mail address"));
        };
        let recorded = self.log.event_at(notice.position).await?;
        let recorded = recorded
            .filter(|event| event.event_id == notice.event_id)
            .ok_or(ComposeError::Never("the log has no such event"))?;
        let text = self.text(notice, &recorded, name_of(&user)).await?;
        let mail = self.message(notice, recorded.recorded_at, to, text)?;
        Ok(Composed::Mail(Box::new(mail)))
    }

    async fn text(&self, notice: &Notice, recorded: &Recorded, name: &str) -> Result<Text, ComposeError> {
        let id = notice.aggregate_id;
        match recorded.event().map_err(LogError::from)? {
            Event::Transaction(transaction::Event::Succeeded { .. }) => self.succeeded(id.into(), name).await,
            Event::Transaction(transaction::Event::Failed { message, .. }) => {
                self.failed(id.into(), name, message).await
            }
            Event::UserOffer(user_offer::Event::ExpirySoon { expires_at, .. }) => {
                self.expiring(id.into(), name, *expires_at).await
            }
            _ => Err(ComposeError::Never("there is no mail for such an event")),
        }
    }

    async fn succeeded(&self, transaction_id: TransactionId, name: &str) -> Result<Text, ComposeError> {
        let request = self.request(transaction_id).await?;
        let started = SubscriptionId::started_by(transaction_id);
        let subscription = request.subscription_id.unwrap_or(started);
        let ends = moment(self.end_paid_by(transaction_id, subscription).await?);
        let price = is_own(&request).then(|| amount(request.amount, &self.currency));
        let offer = &*one_line(&request.offer_name);
        Ok(match request.kind {
            Kind::Renewal => text::write(&Renewed { name, offer, ends, price, transaction_id }),
            Kind::Activation | Kind::Partner => {
                text::write(&Activated { name, offer, ends, price, transaction_id })
            }
        })
    }

    async fn failed(
        &self,
        transaction_id: TransactionId,
        name: &str,
        reason: &str,
    ) -> Result<Text, ComposeError> {
        let request = self.request(transaction_id).await?;
        let refund = is_own(&request).then(|| amount(request.amount, &self.currency));
        let (offer, reason) = (&*one_line(&request.offer_name), &*one_line(reason));
        let renewal = request.kind == Kind::Renewal;
        Ok(text::write(&Failed { name, offer, renewal, reason, refund, transaction_id }))
    }

    async fn expiring(
        &self,
        subscription_id: SubscriptionId,
        name: &str,
        expires_at: Timestamp,
    ) -> Result<Text, ComposeError> {
        let found = self.readers.subscription(subscription_id).await;
        let found = found.map_err(|cause| ComposeError::Unavailable(cause.into()))?;
        // A notice is added after the read tables show the event: if it is missing they are broken.
        let found = found.ok_or(ComposeError::Never("the read tables have no such subscription"))?;
        let offer = &*one_line(&found.offer_name);
        Ok(text::write(&Expiring { name, offer, ends: moment(expires_at), subscription_id }))
    }

    async fn request(&self, id: TransactionId) -> Result<ActivationRequested, ComposeError> {
        let cached = self.log.load::<Transaction>(id.0).await?.state;
        if let Some(request) = cached.request() {
            return Ok(request.clone());
        }
        let read = self.log.reload::<Transaction>(id.0).await?.state;
        read.request().cloned().ok_or(ComposeError::Never("the log has no such transaction"))
    }

    /// The end of the subscription's period that the transaction paid for: it may have been renewed since.
    async fn end_paid_by(
        &self,
        transaction: TransactionId,
        subscription: SubscriptionId,
    ) -> Result<Timestamp, ComposeError> {
        for recorded in self.log.stream(StreamId::of::<UserOffer>(subscription.0)).await? {
            let event = recorded.event().map_err(LogError::from)?;
            if let Event::UserOffer(user_offer::Event::Activated(period) | user_offer::Event::Renewed(period)) =
                event
                && period.transaction_id == transaction
            {
                return Ok(period.expires_at);
            }
        }
        Err(ComposeError::Never("the log has no period that this transaction paid for"))
    }

    /// The same bytes for every attempt: a duplicate has the same Message-ID.
    fn message(
        &self,
        notice: &Notice,
        recorded_at: Timestamp,
        to: Address,
        text: Text,
    ) -> Result<Message, ComposeError> {
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted"); // RFC 3834: do not answer
        Message::builder()
            .message_id(Some(format!("<{}@{}>", notice.event_id, self.from.email.domain())))
            .date(recorded_at.utc().into())
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .raw_header(subject(text.subject))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(text.body)
            .map_err(|_: MessageError| ComposeError::Never("cannot write the mail"))
    }
}

impl From<LogError> for ComposeError {
    fn from(cause: LogError) -> Self {
        match cause {
            LogError::Broken { .. } => Self::Never("the log is broken at this event"),
            LogError::Unreadable(_) => Self::Never("this version cannot read the event"),
            cause => Self::Unavailable(cause.into()),
        }
    }
}

/// True if the user's own balance was used.
fn is_own(request: &ActivationRequested) -> bool {
    request.account_id == AccountId::from(request.user_id)
}

fn name_of(user: &User) -> &str {
    let first_name = user.first_name.trim();
    if first_name.is_empty() { &user.username } else { first_name }
}

/// The header `Subject`. A literal `=?…?=` would be read as an encoded word; lettre encodes only what is not ASCII.
fn subject(text: String) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str("Subject");
    if !text.contains("=?") {
        return HeaderValue::new(name, text);
    }
    let (mut words, mut word) = (Vec::new(), String::new());
    for c in text.chars() {
        if word.len() + c.len_utf8() > ENCODED_WORD_BYTES {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let encoded: Vec<_> = words.iter().map(|word| format!("=?utf-8?b?{}?=", STANDARD.encode(word))).collect();
    HeaderValue::dangerous_new_pre_encoded(name, text, encoded.join("\r\n "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_encoded_word_in_a_subject_is_encoded() {
        let literal = "=?utf-8?q?Your_password?= \u{e9} is active, and a long line goes on and on until it must be folded";
        let mail = Message::builder()
            .from("a@example.com".parse().expect("an address"))
            .to("b@example.com".parse().expect("an address"))
            .raw_header(subject(literal.to_owned()))
            .body(String::new())
            .expect("a mail");
        let mail = String::from_utf8(mail.formatted()).expect("ASCII");
        let (_, rest) = mail.split_once("Subject: ").expect("a subject");
        let lines: Vec<_> =
            rest.split("\r\n").take_while(|line| line.trim_start().starts_with("=?utf-8?b?")).collect();
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() <= 76), "{mail}");
        let decoded: Vec<u8> = lines
            .iter()
            .flat_map(|line| {
                let word = line.trim().trim_start_matches("=?utf-8?b?").trim_end_matches("?=");
                STANDARD.decode(word).expect("base64")
            })
            .collect();
        assert_eq!(String::from_utf8(decoded).expect("UTF-8"), literal);
        assert!(!mail.contains("=?utf-8?q?Your"), "{mail}");
    }
}
