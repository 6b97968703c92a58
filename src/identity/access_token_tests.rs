//! What an access token says, and what is refused as one.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn tokens(secrets: &str) -> AccessTokens {
    let ring = Keyring::parse(&secrets.into()).expect("good secrets");
    AccessTokens::new(&ring, "offers", "offers-api", Duration::from_secs(300))
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 999_000_000).expect("a valid time")
}

fn later(seconds: i64) -> DateTime<Utc> {
    now() + chrono::TimeDelta::seconds(seconds)
}

fn issued(tokens: &AccessTokens) -> String {
    let token =
        tokens.issue(UserId(Uuid::from_u128(1)), &Roles::default(), SessionId(Uuid::from_u128(2)), now());
    token.expose_secret().to_owned()
}

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).expect("three parts");
    serde_json::from_slice(&BASE64.decode(text).expect("base64url")).expect("JSON")
}

/// A token with any header and claims, signed with the right key.
fn forged(header: Value, claims: Value) -> String {
    let ring = Keyring::parse(&SECRET.into()).expect("a good secret");
    let encode = |value: &Value| BASE64.encode(value.to_string());
    let message = format!("{}.{}", encode(&header), encode(&claims));
    let key = EncodingKey::from_secret(&ring.current().derive(PURPOSE, &[]));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, ALGORITHM).expect("HMAC");
    format!("{message}.{signature}")
}

#[test]
fn a_token_carries_the_claims_of_the_contract() {
    let token = issued(&tokens(SECRET));
    let header = part(&token, 0);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("HS256")));
    let claims = part(&token, 1);
    let mut names: Vec<_> = claims.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "roles", "sid", "sub"]);
    assert_eq!(claims["sub"], json!(Uuid::from_u128(1)));
    assert_eq!(claims["sid"], json!(Uuid::from_u128(2)));
    assert_eq!(claims["roles"], json!(["user"]));
    assert_eq!(claims["exp"].as_i64(), claims["iat"].as_i64().map(|iat| iat + 300));
}

#[test]
fn a_token_is_good_until_it_expires_and_not_a_second_longer() {
    let tokens = tokens(SECRET);
    let token = issued(&tokens);
    assert!(matches!(tokens.verify(&token, later(299)), Ok(Caller::User { .. })));
    assert!(matches!(tokens.verify(&token, later(300)), Err(Error::TokenExpired)), "it is remembered");
    let elsewhere = self::tokens(SECRET);
    assert!(matches!(elsewhere.verify(&token, later(300)), Err(Error::TokenExpired)), "it is not");
}

#[test]
fn a_token_that_is_not_genuine_is_never_remembered() {
    let tokens = tokens(SECRET);
    let token = issued(&self::tokens(OTHER));
    for _ in 0..2 {
        assert!(matches!(tokens.verify(&token, now()), Err(Error::TokenInvalid)));
    }
    assert_eq!(tokens.remembered.len(), 0);
}

#[test]
fn a_replaced_key_still_verifies_until_it_is_taken_out() {
    let token = issued(&tokens(SECRET));
    assert!(tokens(&format!("{OTHER},{SECRET}")).verify(&token, now()).is_ok());
    assert!(matches!(tokens(OTHER).verify(&token, now()), Err(Error::TokenInvalid)));
}

#[test]
fn any_changed_byte_makes_it_invalid() {
    let tokens = tokens(SECRET);
    let token = issued(&tokens);
    for index in 0..token.len() - 1 {
        let mut bytes = token.clone().into_bytes();
        bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ASCII");
        assert!(matches!(tokens.verify(&changed, now()), Err(Error::TokenInvalid)), "byte {index}");
    }
}

#[test]
fn what_is_not_exactly_ours_is_refused_even_when_signed_with_our_key() {
    let tokens = tokens(SECRET);
    let genuine = issued(&tokens);
    let (header, claims) = (part(&genuine, 0), part(&genuine, 1));
    assert!(tokens.verify(&forged(header.clone(), claims.clone()), now()).is_ok(), "the forge works");
    let with = |value: &Value, name: &str, new: Value| {
        let mut value = value.clone();
        value[name] = new;
        value
    };
    for (name, new) in [
        ("typ", json!("JWT")),
        ("typ", json!(null)),
        ("alg", json!("none")),
        ("alg", json!("HS512")),
        ("alg", json!("RS256")),
        ("kid", json!("another")),
        ("crit", json!(["exp"])),
    ] {
        let token = forged(with(&header, name, new), claims.clone());
        assert!(matches!(tokens.verify(&token, now()), Err(Error::TokenInvalid)), "header {name}");
    }
    for (name, new) in [
        ("iss", json!("somebody")),
        ("aud", json!("another-api")),
        ("aud", json!(null)),
        ("sub", json!("alice")),
        ("sid", json!(null)),
        ("roles", json!(["root"])),
        ("exp", json!("tomorrow")),
    ] {
        let token = forged(header.clone(), with(&claims, name, new));
        assert!(matches!(tokens.verify(&token, now()), Err(Error::TokenInvalid)), "claim {name}");
    }
    for text in ["", "a.b.c", "..", "x", &"a".repeat(5000)] {
        assert!(matches!(tokens.verify(text, now()), Err(Error::TokenInvalid)));
    }
}
