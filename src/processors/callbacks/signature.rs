//! Standard Webhooks signatures: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, one for
//! each secret, separated by spaces. <https://github.com/standard-webhooks/standard-webhooks>
//!
//! The crate `standardwebhooks` verifies these signatures in the tests. The product does not sign with it:
//! it would add a second HMAC (hmac-sha256) and a third base64 for these few lines.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use uuid::Uuid;

/// What stands before the base64 of a secret's bytes.
const SECRET_PREFIX: &str = "whsec_";

/// The header `webhook-signature` of an attempt at `timestamp` (seconds since 1970); `None` when one of the
/// secrets is not a secret.
#[must_use]
pub fn signatures(secrets: &[SecretString], id: Uuid, timestamp: i64, body: &str) -> Option<String> {
    let signed: Option<Vec<_>> = secrets.iter().map(|secret| sign(secret, id, timestamp, body)).collect();
    signed.map(|signed| signed.join(" "))
}

fn sign(secret: &SecretString, id: Uuid, timestamp: i64, body: &str) -> Option<String> {
    let key = BASE64.decode(secret.expose_secret().strip_prefix(SECRET_PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body.as_bytes());
    Some(format!("v1,{}", BASE64.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_secrets_make_two_signatures() {
        let secrets = ["whsec_b2xk".into(), "whsec_bmV3".into()];
        let both = signatures(&secrets, Uuid::nil(), 7, "{}").unwrap();
        let alone = signatures(&secrets[1..], Uuid::nil(), 7, "{}").unwrap();
        assert_eq!(both.split(' ').nth(1), Some(alone.as_str()));
        assert!(both.starts_with("v1,"));
    }

    #[test]
    fn what_is_no_secret_signs_nothing() {
        for secret in ["b2xk", "whsec_?"] {
            assert_eq!(signatures(&[secret.into()], Uuid::nil(), 7, "{}"), None);
        }
    }
}
