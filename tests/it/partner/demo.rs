//! The partner of `./dev`.

use super::float;
use crate::support::service::{Service, Shop};
use offers::devstack::Partner;
use offers::devstack::demo_data;

async fn load(service: &Service, key: Option<&str>) -> Partner {
    let (resources, now) = (&service.resources, service.app.clock.now().utc());
    demo_data::load(&resources.log, &resources.identity, key, now).await.unwrap().partner.unwrap()
}

#[tokio::test]
async fn the_demo_partner_keeps_its_key_and_its_float() {
    let service = Service::start().await;
    let first = load(&service, None).await;
    let again = load(&service, Some(&first.api_key)).await;
    assert_eq!((again.id, &again.api_key), (first.id, &first.api_key));
    assert_eq!(again.webhook_secret, first.webhook_secret);
    let lost = load(&service, None).await;
    assert_eq!((lost.id, &lost.webhook_secret), (first.id, &first.webhook_secret));
    assert_ne!(lost.api_key, first.api_key);
    let wrong = load(&service, Some("ofk_of_another_database")).await;
    for key in [first.api_key, lost.api_key, wrong.api_key] {
        assert_eq!(float(&service, &Shop { id: first.id.into(), key }).await, "1000.00");
    }
}
