//! Tells cargo that a new migration means a new binary: the macro that embeds them cannot see added files.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
