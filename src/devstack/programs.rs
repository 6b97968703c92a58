//! Finds the servers' executables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use super::error::Error;

const OLDEST_POSTGRES: u32 = 15;
/// Directories that are often missing in PATH.
const ELSEWHERE: [&str; 5] =
    ["/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin", "/home/linuxbrew/.linuxbrew/bin"];
/// Directories with one directory for each PostgreSQL version, whose programs are in `bin`.
const POSTGRES_HOMES: [&str; 5] = [
    "/usr/lib/postgresql",
    "/opt/homebrew/opt",
    "/usr/local/opt",
    "/home/linuxbrew/.linuxbrew/opt",
    "/usr/local/pgsql",
];

pub(crate) fn find(program: &'static str, package: &'static str) -> Result<PathBuf, Error> {
    path_directories()
        .into_iter()
        .chain(ELSEWHERE.map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or(Error::NotInstalled { program, package })
}

/// The directory of PostgreSQL's programs: of the version of `cluster`, or else the newest.
pub(crate) fn postgres(cluster: &Path) -> Result<PathBuf, Error> {
    let installed = installed_postgres();
    let newest = installed.iter().next_back().filter(|(version, _)| **version >= OLDEST_POSTGRES);
    let Some(wanted) = version_of(cluster) else {
        let missing = Error::NotInstalled { program: "postgres", package: "postgresql, 15 or newer" };
        return newest.map(|(_, directory)| directory.clone()).ok_or(missing);
    };
    installed.get(&wanted).cloned().ok_or_else(|| Error::WrongVersion {
        cluster: cluster.to_owned(),
        wanted,
        found: installed.keys().map(u32::to_string).collect::<Vec<_>>().join(", "),
    })
}

/// The major version of a cluster; `None` if it does not exist yet.
fn version_of(cluster: &Path) -> Option<u32> {
    fs::read_to_string(cluster.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// The directory of programs of each installed major version.
fn installed_postgres() -> BTreeMap<u32, PathBuf> {
    let homes = POSTGRES_HOMES.iter().filter_map(|home| fs::read_dir(home).ok()).flatten().flatten();
    let mut directories: Vec<PathBuf> = homes.map(|entry| entry.path().join("bin")).collect();
    directories.extend(path_directories());
    let usable = directories.into_iter().filter(|bin| bin.join("initdb").is_file());
    usable.filter_map(|bin| Some((version_in(&bin)?, bin))).collect()
}

/// The major version of the server in `bin`: `postgres (PostgreSQL) 15.14 (Debian …)`.
fn version_in(bin: &Path) -> Option<u32> {
    let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_once("(PostgreSQL) ")?.1;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn path_directories() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}
