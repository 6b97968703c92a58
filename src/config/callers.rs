//! Who a verb is at a running service.

use super::secret::{self, Secret, SecretError};
use clap::Args;
use std::env;
use std::path::PathBuf;
use url::Url;

/// An administrator at a running service.
#[derive(Args, Clone, Debug)]
pub struct ApiAccess {
    /// The service, without /api/v1.
    #[arg(
        long,
        env = "OFFERS_API_URL",
        help_heading = "The service",
        default_value = "http://127.0.0.1:8080"
    )]
    pub url: Url,
    /// An access token, instead of a login.
    #[arg(long, env = "OFFERS_API_TOKEN", help_heading = "The service", hide_env_values = true)]
    token: Option<Secret>,
    #[arg(long, env = "OFFERS_API_TOKEN_FILE", hide = true)]
    token_file: Option<PathBuf>,
    /// Where `offers login` keeps logins [default: ~/.config/offers/logins.json].
    #[arg(long, env = "OFFERS_LOGIN_FILE", help_heading = "The service", value_name = "FILE")]
    login_file: Option<PathBuf>,
    /// Who logs in when there is no login, with OFFERS_API_PASSWORD.
    #[arg(long = "api-username", env = "OFFERS_API_USERNAME", hide = true)]
    own_name: Option<String>,
    #[arg(long = "api-password", env = "OFFERS_API_PASSWORD", hide = true, hide_env_values = true)]
    own_password: Option<Secret>,
    #[arg(long = "api-password-file", env = "OFFERS_API_PASSWORD_FILE", hide = true)]
    own_password_file: Option<PathBuf>,
}

impl ApiAccess {
    /// # Errors
    /// Its file cannot be read.
    pub fn token(&self) -> Result<Option<Secret>, SecretError> {
        secret::optional("OFFERS_API_TOKEN", self.token.as_ref(), self.token_file.as_deref())
    }

    /// Who logs in without being asked, for programs: the name and the password.
    ///
    /// # Errors
    /// There is a name, and no password.
    pub fn password(&self) -> Result<Option<(String, Secret)>, SecretError> {
        let Some(name) = &self.own_name else { return Ok(None) };
        let (given, file) = (self.own_password.as_ref(), self.own_password_file.as_deref());
        Ok(Some((name.clone(), secret::required("OFFERS_API_PASSWORD", given, file)?)))
    }

    /// `None` if there is no home directory.
    #[must_use]
    pub fn login_file(&self) -> Option<PathBuf> {
        let directory = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let config = || directory("XDG_CONFIG_HOME").or_else(|| Some(directory("HOME")?.join(".config")));
        self.login_file.clone().or_else(|| Some(config()?.join("offers/logins.json")))
    }
}

/// An auditor at a running service, for the witness.
#[derive(Args, Clone, Debug)]
pub struct WitnessLogin {
    /// The user name of an auditor, who may ask for consistency proofs.
    #[arg(long, env = "OFFERS_WITNESS_USERNAME")]
    pub username: String,
    /// The auditor's password.
    #[arg(long, env = "OFFERS_WITNESS_PASSWORD", hide_env_values = true)]
    password: Option<Secret>,
    #[arg(long, env = "OFFERS_WITNESS_PASSWORD_FILE", hide = true)]
    password_file: Option<PathBuf>,
}

impl WitnessLogin {
    /// # Errors
    /// Missing, or its file cannot be read.
    pub fn password(&self) -> Result<Secret, SecretError> {
        secret::required("OFFERS_WITNESS_PASSWORD", self.password.as_ref(), self.password_file.as_deref())
    }
}

/// What a partner calls with, and what its callbacks are signed with.
#[derive(Args, Clone, Debug)]
pub struct PartnerSecrets {
    /// The partner's API key, `ofk_…`.
    #[arg(long, env = "OFFERS_PARTNER_KEY", hide_env_values = true)]
    key: Option<Secret>,
    /// A file with the key.
    #[arg(long, env = "OFFERS_PARTNER_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// The webhook secret that signs, `whsec_…`.
    #[arg(long, env = "OFFERS_PARTNER_SECRET", hide_env_values = true)]
    secret: Option<Secret>,
    /// A file with the webhook secret.
    #[arg(long, env = "OFFERS_PARTNER_SECRET_FILE")]
    secret_file: Option<PathBuf>,
}

impl PartnerSecrets {
    /// # Errors
    /// Missing, or its file cannot be read.
    pub fn key(&self) -> Result<Secret, SecretError> {
        secret::required("OFFERS_PARTNER_KEY", self.key.as_ref(), self.key_file.as_deref())
    }

    /// # Errors
    /// Missing, or its file cannot be read.
    pub fn webhook_secret(&self) -> Result<Secret, SecretError> {
        secret::required("OFFERS_PARTNER_SECRET", self.secret.as_ref(), self.secret_file.as_deref())
    }
}
