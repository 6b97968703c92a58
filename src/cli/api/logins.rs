//! The file of logins: for each service a user, an access token, and the refresh token that renews it.
//!
//! Verbs that run at the same time share it: the one that renews a login holds the lock, because a refresh token works once.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::service::Service;
use crate::cli::output::Refused;
use crate::clock::Clock;
use crate::config::ApiAccess;
use crate::devstack::replace_file;

/// An access token that ends sooner is renewed before it is used.
const MARGIN: TimeDelta = TimeDelta::seconds(30);

pub(super) struct Logins {
    path: PathBuf,
    url: String,
    /// Who logs in when there is no login.
    own: Option<(String, SecretString)>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    username: String,
    access: String,
    expires_at: DateTime<Utc>,
    refresh: String,
}

#[derive(Deserialize)]
struct Grant {
    access: String,
    refresh: String,
    expires_in: u32,
}

/// The file while nobody else may change it.
struct Locked<'a> {
    path: &'a Path,
    all: BTreeMap<String, Kept>,
    _lock: File,
}

impl Logins {
    pub(super) fn of(args: &ApiAccess) -> anyhow::Result<Self> {
        let path = args.login_file().context("--login-file: there is no home directory to keep logins in")?;
        let own = args.password()?.map(|(username, password)| (username, password.inner().clone()));
        Ok(Self { path, url: args.url.to_string(), own })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An access token; another one than `refused`.
    pub(super) async fn token(&self, service: &Service, refused: Option<&str>) -> anyhow::Result<String> {
        let mut file = self.lock()?;
        let Some(kept) = file.all.get(&self.url).cloned() else {
            let Some((username, password)) = &self.own else {
                return Err(anyhow!("not logged in at {}: offers login, or --token", self.url));
            };
            return self.grant(service, &mut file, username, password).await;
        };
        if refused != Some(&kept.access) && kept.expires_at - MARGIN > Clock::system().now().utc() {
            return Ok(kept.access);
        }
        let body = json!({"refresh": kept.refresh});
        match (service.post(&["auth", "refresh"], &body).await, &self.own) {
            (Ok(grant), _) => file.keep(&self.url, &kept.username, grant),
            (Err(cause), Some((username, password)))
                if cause.is::<Refused>() && *username == kept.username =>
            {
                self.grant(service, &mut file, username, password).await
            }
            (Err(cause), _) if cause.is::<Refused>() => {
                let ended = anyhow!("the login of {} at {} has ended: offers login", kept.username, self.url);
                Err(Refused(ended).into())
            }
            (Err(cause), _) => Err(cause),
        }
    }

    pub(super) async fn log_in(
        &self,
        service: &Service,
        username: &str,
        password: &SecretString,
    ) -> anyhow::Result<()> {
        self.grant(service, &mut self.lock()?, username, password).await.map(|_| ())
    }

    /// Ends the session and forgets it. Returns whose it was.
    pub(super) async fn log_out(&self, service: &Service) -> anyhow::Result<Option<String>> {
        let mut file = self.lock()?;
        let Some(kept) = file.all.remove(&self.url) else { return Ok(None) };
        match service.post(&["auth", "logout"], &json!({"refresh": kept.refresh})).await {
            Err(cause) if !cause.is::<Refused>() => return Err(cause),
            _ended_now_or_before => file.write()?,
        }
        Ok(Some(kept.username))
    }

    async fn grant(
        &self,
        service: &Service,
        file: &mut Locked<'_>,
        username: &str,
        password: &SecretString,
    ) -> anyhow::Result<String> {
        let body = json!({"username": username, "password": password.expose_secret()});
        let grant = service.post(&["auth", "login"], &body).await?;
        file.keep(&self.url, username, grant)
    }

    fn lock(&self) -> anyhow::Result<Locked<'_>> {
        let path = &self.path;
        let cannot = || format!("cannot read {}", path.display());
        if let Some(parent) = path.parent() {
            let created = DirBuilder::new().recursive(true).mode(0o700).create(parent);
            created.with_context(|| format!("cannot create {}", parent.display()))?;
        }
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(path.with_extension("lock"));
        let lock = lock.with_context(cannot)?;
        lock.lock().with_context(cannot)?;
        let all = match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).with_context(cannot)?,
            Err(cause) if cause.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(cause) => return Err(cause).with_context(cannot),
        };
        Ok(Locked { path, all, _lock: lock })
    }
}

impl Locked<'_> {
    /// Keeps what the service granted and returns the access token.
    fn keep(&mut self, url: &str, username: &str, grant: Value) -> anyhow::Result<String> {
        let grant: Grant = serde_json::from_value(grant).context("the login's answer is not known")?;
        let expires_at = Clock::system().now().utc() + TimeDelta::seconds(grant.expires_in.into());
        let (username, access) = (username.to_owned(), grant.access.clone());
        self.all.insert(url.to_owned(), Kept { username, access, expires_at, refresh: grant.refresh });
        self.write()?;
        Ok(grant.access)
    }

    fn write(&self) -> anyhow::Result<()> {
        Ok(replace_file(self.path, &serde_json::to_vec_pretty(&self.all)?, 0o600)?)
    }
}
