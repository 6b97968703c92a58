//! The texts of mails: templates in `templates/mail/`, checked by the compiler. The first line of a template is
//! the subject.

use askama::Template;
use domain::{Money, SubscriptionId, Timestamp, TransactionId};

/// Characters of a subject: an offer's name must leave room for the rest of the line.
const SUBJECT_LENGTH: usize = 150;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) subject: String,
    pub(super) body: String,
}

#[derive(Template)]
#[template(path = "mail/activated.txt", escape = "none")]
pub(super) struct Activated<'a> {
    pub(super) name: &'a str,
    pub(super) offer: &'a str,
    pub(super) ends: String,
    /// `None` if a partner paid.
    pub(super) price: Option<String>,
    pub(super) transaction_id: TransactionId,
}

#[derive(Template)]
#[template(path = "mail/renewed.txt", escape = "none")]
pub(super) struct Renewed<'a> {
    pub(super) name: &'a str,
    pub(super) offer: &'a str,
    pub(super) ends: String,
    /// `None` if a partner paid.
    pub(super) price: Option<String>,
    pub(super) transaction_id: TransactionId,
}

/// A transaction failed and was refunded.
#[derive(Template)]
#[template(path = "mail/failed.txt", escape = "none")]
pub(super) struct Failed<'a> {
    pub(super) name: &'a str,
    pub(super) offer: &'a str,
    pub(super) renewal: bool,
    pub(super) reason: &'a str,
    /// `None` if a partner paid and was refunded.
    pub(super) refund: Option<String>,
    pub(super) transaction_id: TransactionId,
}

#[derive(Template)]
#[template(path = "mail/expiring.txt", escape = "none")]
pub(super) struct Expiring<'a> {
    pub(super) name: &'a str,
    pub(super) offer: &'a str,
    pub(super) ends: String,
    pub(super) subscription_id: SubscriptionId,
}

pub(super) fn write(template: &impl Template) -> Text {
    let text = template.render().expect("a String takes every write");
    let (subject, body) = text.split_once('\n').unwrap_or((&text, ""));
    Text { subject: subject.chars().take(SUBJECT_LENGTH).collect(), body: body.trim_start().to_owned() }
}

pub(super) fn moment(at: Timestamp) -> String {
    at.utc().format("%-d %B %Y, %H:%M UTC").to_string()
}

pub(super) fn amount(money: Money, currency: &str) -> String {
    format!("{money} {currency}")
}

/// One line without control characters, whatever came in: for what others wrote.
pub(super) fn one_line(text: &str) -> String {
    text.split(char::is_control).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn activated(price: Option<&str>) -> Text {
        write(&Activated {
            name: "Alice",
            offer: "TV & Radio <HD>",
            ends: moment("2026-03-04T08:05:00Z".parse().unwrap()),
            price: price.map(ToOwned::to_owned),
            transaction_id: TransactionId(Uuid::nil()),
        })
    }

    #[test]
    fn the_first_line_is_the_subject_and_nothing_is_escaped() {
        let text = activated(Some("19.99 EUR"));
        assert_eq!(text.subject, "TV & Radio <HD> is active");
        assert_eq!(
            text.body,
            "Hello Alice,\n\nTV & Radio <HD> is active until 4 March 2026, 08:05 UTC.\n\n\
             Price: 19.99 EUR, taken from your balance.\n\n\
             Transaction: 00000000-0000-0000-0000-000000000000"
        );
    }

    #[test]
    fn who_did_not_pay_reads_of_no_price() {
        let body = activated(None).body;
        assert!(!body.contains("Price") && !body.contains("\n\n\n"), "{body}");
    }

    #[test]
    fn a_failure_says_where_the_money_is() {
        let failed = |renewal, refund: Option<&str>| {
            write(&Failed {
                name: "Alice",
                offer: "TV",
                renewal,
                reason: "there is no capacity",
                refund: refund.map(ToOwned::to_owned),
                transaction_id: TransactionId(Uuid::nil()),
            })
        };
        let own = failed(false, Some("19.99 EUR"));
        assert_eq!(own.subject, "TV could not be activated");
        assert!(
            own.body.contains(
                "TV could not be activated: there is no capacity\n\n19.99 EUR is back on your balance.\n\n"
            ),
            "{}",
            own.body
        );
        let partners = failed(true, None);
        assert_eq!(partners.subject, "TV could not be renewed");
        assert!(partners.body.contains("\n\nNothing was taken from your balance.\n\n"), "{}", partners.body);
    }

    #[test]
    fn what_others_wrote_stays_on_its_line() {
        assert_eq!(one_line("TV\r\nBcc: everybody@example.com\0"), "TV Bcc: everybody@example.com");
    }
}
