//! Access tokens: JWTs (RFC 9068) that any instance checks without asking anybody.
//!
//! HS256 with a key derived from the ring: only this service makes and reads them, so nobody needs a
//! public key, and checking takes microseconds. `kid` says which server key, so that one can be
//! replaced. There is no leeway: issuer and reader are one service.

use super::caller::{Caller, Roles, SessionId};
use super::error::Error;
use super::hs256;
use super::keyring::Keyring;
use chrono::{DateTime, Utc};
use domain::UserId;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use quick_cache::sync::Cache;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const PURPOSE: &str = "offers access token v1";
const ALGORITHM: Algorithm = Algorithm::HS256;
/// RFC 9068: so that no other kind of token of ours is ever taken for one.
const TOKEN_TYPE: &str = "at+jwt";
/// Ours have some 500 bytes; what is much longer is not worth decoding.
const TOKEN_MAX_BYTES: usize = 4096;
/// Tokens whose signature need not be checked again; one takes some 700 bytes.
const REMEMBERED_MAX: usize = 10_000;

/// Makes and checks access tokens.
pub(super) struct AccessTokens {
    issuer: String,
    audience: String,
    lifetime: Duration,
    signing: (String, EncodingKey),
    verifying: Vec<(String, DecodingKey)>,
    validation: Validation,
    /// What genuine tokens say. Whether one has expired is judged at every request.
    remembered: Cache<Box<str>, Arc<Claims>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: UserId,
    roles: Roles,
    jti: Uuid,
    sid: SessionId,
    iat: i64,
    exp: i64,
    iss: String,
    aud: String,
}

impl AccessTokens {
    pub(super) fn new(keys: &Keyring, issuer: &str, audience: &str, lifetime: Duration) -> Self {
        hs256::install();
        let current = keys.current();
        let signing = EncodingKey::from_secret(&current.derive(PURPOSE, &[]));
        let verifying = keys
            .iter()
            .map(|key| (key.id().to_owned(), DecodingKey::from_secret(&key.derive(PURPOSE, &[]))))
            .collect();
        Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            lifetime,
            signing: (current.id().to_owned(), signing),
            verifying,
            validation: validation(issuer, audience),
            remembered: Cache::new(REMEMBERED_MAX),
        }
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    pub(super) fn issue(
        &self,
        user: UserId,
        roles: &Roles,
        session: SessionId,
        now: DateTime<Utc>,
    ) -> SecretString {
        let (key_id, key) = &self.signing;
        let mut header = Header::new(ALGORITHM);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(key_id.clone());
        let claims = Claims {
            sub: user,
            roles: roles.clone(),
            jti: Uuid::now_v7(),
            sid: session,
            iat: now.timestamp(),
            exp: now.timestamp().saturating_add_unsigned(self.lifetime.as_secs()),
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
        };
        jsonwebtoken::encode(&header, &claims, key)
            .expect("an HMAC over a few strings and numbers cannot fail")
            .into()
    }

    /// The caller that `token` speaks for, as far as the token itself can tell.
    ///
    /// # Errors
    /// `TokenExpired` only for a token that is otherwise right; `TokenInvalid` for everything else.
    pub(super) fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Caller, Error> {
        let claims = self.genuine(token).ok_or(Error::TokenInvalid)?;
        if now.timestamp() >= claims.exp {
            return Err(Error::TokenExpired);
        }
        Ok(Caller::User { id: claims.sub, roles: claims.roles.clone(), session: claims.sid })
    }

    fn genuine(&self, token: &str) -> Option<Arc<Claims>> {
        if let Some(claims) = self.remembered.get(token) {
            return Some(claims);
        }
        let claims = Arc::new(self.decode(token)?);
        self.remembered.insert(token.into(), claims.clone());
        Some(claims)
    }

    fn decode(&self, token: &str) -> Option<Claims> {
        if token.len() > TOKEN_MAX_BYTES {
            return None;
        }
        let header = jsonwebtoken::decode_header(token).ok()?;
        let is_ours = header.typ.as_deref() == Some(TOKEN_TYPE) && header.crit.is_none();
        let (_, key) = self.verifying.iter().find(|(id, _)| Some(id) == header.kid.as_ref())?;
        let data = jsonwebtoken::decode::<Claims>(token, key, &self.validation).ok()?;
        is_ours.then_some(data.claims)
    }
}

fn validation(issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(ALGORITHM);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_exp = false; // judged by the caller's clock, after everything else
    validation
}

#[cfg(test)]
#[path = "access_token_tests.rs"]
mod tests;
