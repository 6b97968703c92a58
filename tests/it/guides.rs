//! docs/clients.md: its commands print what it says.

use crate::support::guide::{Guide, Reader};
use crate::support::languages::node_is_missing;
use crate::support::up::Up;

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_guides_on_one_system_prints_what_they_say() {
    if node_is_missing().await {
        return;
    }
    let up = Up::start("guides").await;
    let demo = up.demo().unwrap();
    let url = demo["api_url"].as_str().unwrap().to_owned();
    Reader::new("clients", None, vec![("URL", url)]).runs(&Guide::read("clients.md").steps).await;
}
