//! The environment of a running installation, for the service and for other verbs: `./dev check` finds the
//! private servers by it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::{Deserialize, Serialize};

use super::demo_data::Members;
use super::error::{At, Error};
use super::files::{self, replace};
use crate::config::Secret;

/// Variables `OFFERS_*` and their values, passwords included.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of the installation that runs on `dir`.
    #[must_use]
    pub fn of(dir: &Path) -> Option<Environment> {
        serde_json::from_slice(&fs::read(path(dir)).ok()?).ok()
    }

    /// Without the variables of our own environment: those that the user has set stay.
    #[must_use]
    pub fn missing(self) -> BTreeMap<String, String> {
        self.0.into_iter().filter(|(name, _)| env::var_os(name).is_none()).collect()
    }

    pub(super) fn variables(&self) -> Vec<(String, OsString)> {
        self.0.iter().map(|(name, value)| (name.clone(), value.into())).collect()
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Sets a default that the user may override.
    pub(super) fn set_unless_given(&mut self, name: &str, value: &str) {
        if env::var_os(name).is_none() {
            self.set(name, value);
        }
    }

    /// Creates a secret and passes it as a file, unless the user has set `name` or `name_FILE`.
    pub(super) fn set_secret(&mut self, dir: &Path, name: &str) -> Result<(), Error> {
        self.set_secret_made_by(dir, name, files::random_secret)
    }

    /// The same for a secret that has a form of its own.
    pub(super) fn set_secret_made_by(
        &mut self,
        dir: &Path,
        name: &str,
        make: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        let file_variable = format!("{name}_FILE");
        if env::var_os(name).is_none() && env::var_os(&file_variable).is_none() {
            let file = files::secret(dir, &name.to_lowercase(), make)?;
            self.set(&file_variable, file.display().to_string());
        }
        Ok(())
    }

    /// The verbs that go through the API are the demo administrator's, without a login.
    pub(super) fn set_administrator(&mut self, dir: &Path, api_url: &str, members: &Members) {
        self.set("OFFERS_API_URL", api_url);
        let admin = members.users.iter().find(|user| user.roles.iter().any(|role| role == "admin"));
        if let Some(admin) = admin {
            self.set("OFFERS_API_USERNAME", &admin.username);
            self.set("OFFERS_API_PASSWORD", &admin.password);
            self.set("OFFERS_LOGIN_FILE", dir.join("secrets").join("logins.json").display().to_string());
        }
    }

    /// A secret of our own environment or of this one, as a value or as a file.
    pub(super) fn secret(&self, name: &str) -> Result<Secret, Error> {
        let given = |name: &str| {
            let ours = env::var_os(name).filter(|value| !value.is_empty());
            ours.or_else(|| self.0.get(name).map(OsString::from))
        };
        let text = match (given(name), given(&format!("{name}_FILE"))) {
            (None, Some(path)) => fs::read_to_string(&path).at(Path::new(&path))?,
            (value, _) => value.unwrap_or_default().to_string_lossy().into_owned(),
        };
        let Ok(secret) = text.parse();
        Ok(secret)
    }

    pub(super) fn save(&self, dir: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self).expect("strings are always JSON");
        replace(&path(dir), &text, 0o600)
    }

    pub(super) fn forget(dir: &Path) {
        let _may_be_gone = fs::remove_file(path(dir));
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("secrets").join("environment.json")
}
