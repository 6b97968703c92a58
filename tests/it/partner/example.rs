//! What docs/partners.md promises, done by a program that shares no code with the service.

use crate::outage::processes::{Serving, System};
use crate::support::languages::python_is_missing;
use serde_json::json;
use std::path::Path;
use tokio::process::Command;

#[tokio::test(flavor = "multi_thread")]
async fn a_partners_whole_life_works_as_documented() {
    if python_is_missing().await {
        return;
    }
    let environment = vec![("OFFERS_CALLBACK_ALLOW_PRIVATE", "true".to_owned())];
    let system = System::start_with(&[], Serving { environment, ..Serving::default() }).await;
    let members = &system.members;
    let demo = json!({
        "api_url": system.url,
        "users": members.users,
        "partner": members.partner,
        "offers": members.offers,
    });
    let file = std::env::temp_dir().join(format!("offers-partner-{}.json", std::process::id()));
    std::fs::write(&file, demo.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/partner.py");
    let run = Command::new("python3").arg(script).arg(&file).kill_on_drop(true).output().await.unwrap();
    let _ = std::fs::remove_file(&file);
    let (said, failed) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && said.ends_with("Done\n"), "{said}{failed}");
}
