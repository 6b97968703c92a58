//! Counts the arrows and the circles, so that two trees can be compared.

use std::collections::{BTreeMap, BTreeSet};

use super::rooms::{imports, is_upward, room_of};
use super::source::{Name, Tree};

type Arrows = BTreeSet<(String, String)>;

#[derive(Debug)]
pub struct Figures {
    pub rooms: usize,
    pub arrows: Arrows,
    pub upward: Arrows,
    /// Each circle is the rooms or files that import one another, however many steps that takes.
    pub circles_between: Vec<Vec<String>>,
    pub circles_within: Vec<Vec<String>>,
}

pub fn count(tree: &Tree) -> Figures {
    let owned = |(from, to): (&str, &str)| (from.to_owned(), to.to_owned());
    let rooms: BTreeSet<&str> = tree.sources.iter().filter_map(|one| room_of(&one.module)).collect();
    let arrows: Arrows = tree.sources.iter().flat_map(imports).map(owned).collect();
    let upward = arrows.iter().filter(|(from, to)| is_upward(from, to)).cloned().collect();
    let circles_between = circles(&arrows);
    let circles_within = within(tree).values().flat_map(circles).collect();
    Figures { rooms: rooms.len(), arrows, upward, circles_between, circles_within }
}

/// For each folder below the rooms: the arrows between its files, a folder in it counting as one file. What a folder's
/// `mod.rs` puts together is not counted.
fn within(tree: &Tree) -> BTreeMap<Name, Arrows> {
    let mut folders: BTreeMap<Name, Arrows> = BTreeMap::new();
    for source in &tree.sources {
        for name in &source.names {
            let shared = source.module.iter().zip(name).take_while(|(one, other)| one == other).count();
            let folder = &source.module[..shared];
            let (Some(from), Some(to)) = (source.module.get(shared), name.get(shared)) else { continue };
            if room_of(folder).is_some() && tree.is_module(&name[..=shared]) {
                let arrow = (path(folder, from), path(folder, to));
                folders.entry(folder.to_vec()).or_default().insert(arrow);
            }
        }
    }
    folders
}

fn path(folder: &[String], file: &str) -> String {
    format!("{}::{file}", folder.join("::"))
}

/// The groups of more than one that reach one another.
fn circles(arrows: &Arrows) -> Vec<Vec<String>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        arrows.iter().map(|(from, _)| (from.as_str(), reach(arrows, from))).collect();
    let reaches = |from: &str, to: &str| reached.get(from).is_some_and(|all| all.contains(to));
    let mut found = BTreeSet::new();
    for from in reached.keys().filter(|from| reaches(from, from)) {
        found
            .insert(reached[from].iter().filter(|to| reaches(to, from)).map(|to| (*to).to_owned()).collect());
    }
    found.into_iter().collect()
}

fn reach<'a>(arrows: &'a Arrows, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(at) = next.pop() {
        for (_, to) in arrows.iter().filter(|(start, _)| start == at) {
            if reached.insert(to.as_str()) {
                next.push(to);
            }
        }
    }
    reached
}
