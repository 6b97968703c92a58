//! The Dockerfile: what it copies is what it built, and it builds with all that the build reads.

use super::compose::{Compose, only_demanded, root, text};
use clap::CommandFactory;
use offers::cli::Cli;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// The instructions: name and the rest, lines that go on put together.
fn instructions() -> Vec<(String, String)> {
    let joined = text("Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let split = |line: &str| {
        let (name, rest) = line.split_once(' ').unwrap();
        (name.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    lines.map(split).collect()
}

/// All that follows `name`, in order.
fn all(name: &str) -> Vec<String> {
    instructions().into_iter().filter(|(one, _)| one == name).map(|(_, rest)| rest).collect()
}

fn only(name: &str) -> String {
    let [one] = &all(name)[..] else { panic!("not exactly one {name}: {:?}", all(name)) };
    one.clone()
}

fn list(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_image_has_the_program_that_was_built_and_runs_a_verb_of_it() {
    let program = env!("CARGO_PKG_NAME");
    assert!(text("Cargo.toml").contains(&format!("[[bin]]\nname = \"{program}\"\n")));
    let [entry] = &list(&only("ENTRYPOINT"))[..] else { panic!("ENTRYPOINT is not a program alone") };
    let release = text("deploy/release.sh");
    assert!(release.contains(&format!("cargo build --profile dist --locked --bin {program}\n")));
    assert!(release.contains(&format!("cp {program} rootfs{entry}\n")));
    let build = all("RUN").pop().unwrap();
    let made = build.rsplit_once("deploy/release.sh ").expect("it builds what is released").1;
    assert_eq!(all("COPY").last(), Some(&format!("--from=build {made}/rootfs /")));
    let [verb] = &list(&only("CMD"))[..] else { panic!("CMD is not a verb alone") };
    assert!(Cli::command().find_subcommand(verb).is_some(), "there is no `offers {verb}`");
    let compose = Compose::with(&only_demanded()).unwrap();
    let serving = compose.services.values().find(|service| service.command == [verb.clone()]).unwrap();
    let exposed = only("EXPOSE").split(' ').map(|port| port.parse().unwrap()).collect();
    assert_eq!(serving.listens_on(), exposed);
    assert!(
        compose.ours().all(|(_, service)| service.build.as_deref() == Some(".") && service.image == program)
    );
}

#[test]
fn it_is_built_by_our_compiler_and_has_the_libraries_of_the_debian_that_built_it() {
    let [build, release, run] = &all("FROM")[..] else { panic!("not three stages") };
    assert_eq!([release, run], ["scratch AS release", "scratch"]);
    let build = build.strip_suffix(" AS build").unwrap().strip_prefix("rust:").unwrap();
    let (version, _) = build.split_once("-slim-").unwrap();
    let number =
        |version: &str| -> Vec<u32> { version.split('.').map(|part| part.parse().unwrap()).collect() };
    assert!(number(version) >= number(env!("CARGO_PKG_RUST_VERSION")));
    assert!(text("rust-toolchain.toml").contains(&format!("channel = \"{version}\"\n")), "not ours");
    assert!(ignored().contains("rust-toolchain.toml"), "rustup would download what the image has no use for");
}

#[test]
fn it_does_not_run_as_root_and_holds_no_secret() {
    let (user, release) = (only("USER"), text("deploy/release.sh"));
    assert!(release.contains(&format!("printf '{user}:x:%s:%s:")) && user != "root" && user != "0");
    let id = release.lines().find_map(|line| line.strip_prefix("user_id=")).unwrap();
    assert!(id.parse::<u32>().unwrap() > 0);
    assert_eq!((all("ENV"), all("ADD")), (vec![], vec![]));
    assert_eq!(all("ARG"), ["OFFERS_BUILD_COMMIT=unknown", "SOURCE_DATE_EPOCH=0"]);
    for kept_out in [".env", ".data", ".git", "target"] {
        assert!(ignored().contains(kept_out), "{kept_out} is sent to the engine");
    }
}

#[test]
fn the_build_gets_all_that_it_reads() {
    assert!(all("COPY").contains(&". .".to_owned()), "it copies everything");
    let mut needed: BTreeSet<PathBuf> = ["Cargo.toml", "Cargo.lock", "migrations", "templates", "benches"]
        .into_iter()
        .map(PathBuf::from)
        .collect();
    for member in ["src", "domain", "projections"] {
        needed.insert(member.into());
        included(&root(member), &mut needed);
    }
    assert!(needed.contains(Path::new("nats.conf")), "include_str! is not found any more");
    for path in needed {
        assert!(root(path.to_str().unwrap()).exists(), "{} is not there", path.display());
        let top = path.components().next().unwrap().as_os_str().to_str().unwrap();
        assert!(!ignored().contains(top), "{} is kept from the build", path.display());
    }
}

/// What .dockerignore keeps out: names in the root, the only form that is read here.
fn ignored() -> BTreeSet<String> {
    let text = text(".dockerignore");
    let name = |line: &str| {
        assert!(!line.contains(['*', '!', '?', '/']), "{line}: this test reads plain names only");
        line.to_owned()
    };
    text.lines().map(name).collect()
}

/// The files that sources below `dir` put into the program, from the root.
fn included(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            included(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            for include in ["include_str!(\"", "include_bytes!(\""] {
                let names = source.split(include).skip(1).map(|rest| rest.split('"').next().unwrap());
                found.extend(names.map(|name| plain(&path.parent().unwrap().join(name))));
            }
        }
    }
}

/// From the root, without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.strip_prefix(root("")).unwrap().components() {
        match part {
            Component::ParentDir => assert!(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}
