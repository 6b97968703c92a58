//! Which URL a callback goes to: the transaction's own as long as it has the origin of the registered one.

use crate::identity::CallbackUrl;

/// The transaction's `own` URL, if it has the origin of the `registered` one.
pub(super) fn allowed<'a>(own: Option<&'a str>, registered: &str) -> Option<&'a str> {
    own.filter(|own| match (CallbackUrl::parse(own), CallbackUrl::parse(registered)) {
        (Ok(own), Ok(registered)) => own.same_origin(&registered),
        _ => false,
    })
}

pub(super) fn target<'a>(own: Option<&'a str>, registered: &'a str) -> &'a str {
    allowed(own, registered).unwrap_or(registered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transactions_own_url_is_used_while_it_has_the_registered_origin() {
        let registered = "https://p.example/hook";
        assert_eq!(target(Some("https://p.example/mine"), registered), "https://p.example/mine");
        assert_eq!(target(Some("https://old.example/mine"), registered), registered);
        assert_eq!(target(None, registered), registered);
    }
}
