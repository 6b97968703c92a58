//! Guessing passwords: few guesses get through, and the owners still log in. What it costs others is
//! measured by `cargo bench --bench guessing`.

use crate::outage::processes::{Serving, System};
use crate::support::door::{Door, password_of};
use offers::identity::TRIES_PER_NAME;
use reqwest::StatusCode;

const ACCOUNTS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn few_guesses_get_through_and_the_owners_still_log_in() {
    // The throttle of logins alone, as under ./dev.
    let environment = vec![("OFFERS_RATE_LIMIT_LOGIN", "off".to_owned())];
    let system = System::start_with(&[], Serving { environment, log: None }).await;
    let (admin, guesser, home) =
        (Door::at(&system.url, 3), Door::at(&system.url, 100), Door::at(&system.url, 2));
    let token = admin.token("admin").await;
    for number in 0..ACCOUNTS {
        let name = format!("owner-{number}");
        admin.create(&token, &name).await;
        let password = password_of(&name);
        let (guessed, (status, _)) = tokio::join!(guesser.guess(&name), home.log_in(&name, &password));
        assert_eq!(status, StatusCode::OK, "{name} logs in");
        // And those that were being compared when the tenth failed: one turn for every four cores.
        let turns = (std::thread::available_parallelism().unwrap().get() / 4).max(1);
        let most = TRIES_PER_NAME + turns;
        assert!((TRIES_PER_NAME..=most).contains(&guessed), "{guessed} guesses got through");
    }
}
