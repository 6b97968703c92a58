//! The rules of what people type, and the form in which it is stored.
//!
//! Usernames follow Django's rule: letters and digits of any script and `@ . + - _`, in NFKC, unique without regard
//! to case. Letters of different scripts may look the same; an id tells such users apart.

use super::error::{Error, FieldError};
use super::folding::{folded, nfc, nfkc};
use super::mail_address::mail_address;
use domain::text::{fits_a_line, is_visible};
use secrecy::{ExposeSecret, SecretString};

/// Longest username, first name, last name and partner's name.
pub(super) const NAME_MAX_CHARS: usize = 150;
/// Shortest password (NIST SP 800-63B).
const PASSWORD_MIN_CHARS: usize = 8;
/// Longest password: far above any passphrase, far below what would make hashing dear.
const PASSWORD_MAX_CHARS: usize = 1024;
const SEARCH_MAX_CHARS: usize = 150;

/// Of the ten thousand commonest passwords those that are long enough, folded and sorted, each on a line.
const COMMON_PASSWORDS: &str = include_str!("common_passwords.txt");

/// Collects everything that is wrong, so that a form is corrected in one go. Each method returns the text in the
/// form in which it is stored.
#[derive(Default)]
pub(super) struct Check {
    errors: Vec<FieldError>,
}

impl Check {
    pub(super) fn username(&mut self, text: &str) -> String {
        let username = nfkc(text);
        let allowed = |c: char| (c.is_alphanumeric() && is_visible(c)) || "@.+-_".contains(c);
        if !(1..=NAME_MAX_CHARS).contains(&username.chars().count()) || !username.chars().all(allowed) {
            self.refuse(
                "username",
                format!("must be 1 to {NAME_MAX_CHARS} letters, digits and @ . + - _ only"),
            );
        }
        username
    }

    /// An address that mail can be sent to, as the library that composes it judges.
    pub(super) fn email(&mut self, text: &str) -> String {
        let Some(address) = mail_address(text) else {
            self.refuse("email", "must be a mail address that every mail server takes".to_owned());
            return String::new();
        };
        address.to_string()
    }

    /// A new password of the user with this name and mail address.
    pub(super) fn password(&mut self, password: &SecretString, username: &str, email: &str) {
        let text = nfc(password.expose_secret());
        let guess = folded(text.trim());
        let local = email.rsplit_once('@').map_or(email, |(local, _)| local);
        if !(PASSWORD_MIN_CHARS..=PASSWORD_MAX_CHARS).contains(&text.chars().count()) {
            self.refuse(
                "password",
                format!("must have {PASSWORD_MIN_CHARS} to {PASSWORD_MAX_CHARS} characters"),
            );
        } else if text.contains('\0') {
            self.refuse("password", "must not contain a NUL character".to_owned());
        } else if guess.is_empty() || is_common(&guess) {
            self.refuse("password", "must not be one of the commonest passwords".to_owned());
        } else if [username, email, local].iter().any(|known| guess == folded(known)) {
            self.refuse("password", "must not be the username or the mail address".to_owned());
        }
    }

    /// Free text of one line: a person's or a partner's name.
    pub(super) fn line(&mut self, field: &'static str, text: &str, min_chars: usize) -> String {
        let line = nfc(text);
        if line.chars().count() > NAME_MAX_CHARS || !line.chars().all(fits_a_line) {
            let range = format!("{min_chars} to {NAME_MAX_CHARS}");
            self.refuse(field, format!("must be {range} characters without control characters"));
        } else if min_chars > 0 && !line.chars().any(is_visible) {
            self.refuse(field, "must not be blank".to_owned());
        }
        line
    }

    pub(super) fn search(&mut self, text: &str) {
        if text.chars().count() > SEARCH_MAX_CHARS || text.contains(char::is_control) {
            self.refuse("q", format!("must be at most {SEARCH_MAX_CHARS} characters"));
        }
    }

    fn refuse(&mut self, field: &'static str, message: String) {
        self.errors.push(FieldError { field, message });
    }

    /// # Errors
    /// `Invalid` with everything that was found.
    pub(super) fn done(self) -> Result<(), Error> {
        if self.errors.is_empty() { Ok(()) } else { Err(Error::Invalid(self.errors)) }
    }
}

fn is_common(folded: &str) -> bool {
    COMMON_PASSWORDS.lines().any(|common| common == folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(check: impl FnOnce(&mut Check)) -> bool {
        let mut fields = Check::default();
        check(&mut fields);
        fields.done().is_err()
    }

    fn unfit(password: &str) -> bool {
        refused(|f| f.password(&password.into(), "José.Núñez", "Jose@Bücher.example"))
    }

    #[test]
    fn usernames_are_djangos() {
        for good in [
            "alice",
            "Alice.B+c-d_e@f",
            "7",
            "josé",
            "иван",
            "李小龍",
            "मोहिनी",
            &"x".repeat(150),
            &"e\u{301}".repeat(150),
        ] {
            assert!(!refused(|f| drop(f.username(good))), "{good}");
        }
        for bad in [
            "",
            "a b",
            "a\n",
            "a/b",
            "a\0",
            "a\u{a0}b",
            "a\u{200b}",
            "\u{3164}",
            "🦀",
            &"x".repeat(151),
            &"\u{fdfa}".repeat(9),
        ] {
            assert!(refused(|f| drop(f.username(bad))), "{bad:?}");
        }
        let mut fields = Check::default();
        assert_eq!(fields.username("Jose\u{301} ".trim()), "José");
        assert_eq!(fields.username("ａｌｉｃｅ"), "alice");
    }

    #[test]
    fn passwords_are_neither_tiny_nor_endless() {
        assert!(!unfit("a34x5678"));
        assert!(!unfit("ñandú-ñu"));
        assert!(!unfit(&"e\u{301}".repeat(1024)), "characters are counted in NFC");
        assert!(unfit(&"e\u{301}".repeat(7)));
        assert!(unfit("a34x567"));
        assert!(unfit(&"x".repeat(1025)));
        assert!(unfit("a34x567\0"));
    }

    #[test]
    fn a_password_that_is_guessed_first_is_refused() {
        for bad in ["password", "PassWord", "12345678", "iloveyou", " password ", "        "] {
            assert!(unfit(bad), "{bad:?}");
        }
        for bad in ["josé.núñez", "JOSE\u{301}.NÚÑEZ", "jose@bücher.EXAMPLE"] {
            assert!(unfit(bad), "{bad:?}");
        }
        assert!(refused(|f| f.password(&"Long-Name".into(), "x", "long-name@example.com")));
        assert!(!unfit("josé.núñez-demo"));
    }

    #[test]
    fn the_common_passwords_are_folded_and_each_is_long_enough() {
        for common in COMMON_PASSWORDS.lines() {
            assert_eq!(folded(common), common);
            assert!(common.chars().count() >= PASSWORD_MIN_CHARS, "{common}");
        }
        assert_eq!(COMMON_PASSWORDS.lines().count(), 3903);
    }

    #[test]
    fn a_name_shows_something_and_is_one_line() {
        assert!(refused(|f| drop(f.line("name", "\u{200b}", 1))));
        assert!(refused(|f| drop(f.line("name", "a\u{2028}b", 1))));
        assert!(!refused(|f| drop(f.line("first_name", "", 0))));
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let mut fields = Check::default();
        let _ = (fields.username(""), fields.email(""), fields.line("first_name", "tab\there", 0));
        let Err(Error::Invalid(errors)) = fields.done() else { panic!("three bad fields were accepted") };
        let names: Vec<_> = errors.iter().map(|error| error.field).collect();
        assert_eq!(names, ["username", "email", "first_name"]);
    }
}
