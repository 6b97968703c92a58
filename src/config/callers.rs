//! Who a verb is at a running service.

use super::secret::{self, Secret, SecretError};
use clap::Args;
use std::path::PathBuf;

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
