//! The catalogue: what everybody sees, and what admins change.

use crate::support::service::{Service, send};
use domain::offer::Offer;
use offers::app::catalogue::Change;
use offers::event_log::StreamId;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

fn names(offers: &[Value]) -> Vec<&str> {
    offers.iter().map(|offer| offer["name"].as_str().unwrap()).collect()
}

fn offer(price: &Value) -> Value {
    json!({"name": "TV", "description": "All\nchannels", "price": price, "duration_days": 30})
}

#[tokio::test]
async fn offers_on_sale_are_listed_by_name() {
    let service = Service::start().await;
    let alice = service.person("alice", &["user"]).await;
    service.offer("Music", 500).await;
    let films = service.offer("Films", 1000).await;
    service.offer("Games", 0).await;
    let list = service.get(&alice, "/offers/").await.json();
    assert_eq!(names(list["results"].as_array().unwrap()), ["Films", "Games", "Music"]);
    assert!(list["next"].is_null() && list["previous"].is_null());
    let first = &list["results"][0];
    assert_eq!((&first["price"], &first["duration_days"]), (&json!("10.00"), &json!(30)));
    let members: Vec<_> = first.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members.join(" "), "id name description price duration_days is_active created_at updated_at");
    assert_eq!(service.get(&alice, &format!("/offers/{films}/")).await.json(), *first);

    service.change(films, Change { is_active: Some(false), ..Change::default() }).await;
    let list = service.get(&alice, "/offers/").await.json();
    assert_eq!(names(list["results"].as_array().unwrap()), ["Games", "Music"]);
    let admin = service.admin().await;
    for (query, expected) in [
        ("", &["Films", "Games", "Music"][..]),
        ("?is_active=true", &["Games", "Music"]),
        ("?is_active=false", &["Films"]),
    ] {
        let list = service.get(&admin, &format!("/admin/offers/{query}")).await.json();
        assert_eq!(names(list["results"].as_array().unwrap()), expected, "{query}");
    }
    assert_eq!(service.get(&alice, &format!("/offers/{films}/")).await.json()["is_active"], false);
    service.get(&alice, &format!("/offers/{}/", Uuid::now_v7())).await.is(404, "offer_not_found");
}

#[tokio::test]
async fn a_newline_of_windows_is_stored_as_a_newline_and_a_lone_carriage_return_refused() {
    let service = Service::start().await;
    let (admin, alice) = (service.admin().await, service.person("alice", &["user"]).await);
    let mut written = offer(&json!("1.00"));
    written["description"] = json!("All\r\nchannels");
    let created = service.post(&admin, "/admin/offers/", &written).await.json();
    assert_eq!(created["description"], "All\nchannels");
    written["description"] = json!("All\rchannels");
    assert_eq!(service.post(&admin, "/admin/offers/", &written).await.fields(), ["description"]);
    let credit = format!("/admin/accounts/{}/credit/", alice.id);
    let paid = service.post(&admin, &credit, &json!({"amount": "1", "reason": "Cash\r\ndesk"})).await.json();
    let before = paid["position"].as_i64().unwrap() - 1;
    let event = &service.resources.log.page(before, 64).await.unwrap()[0];
    let metadata: Value = serde_json::from_str(&event.metadata).unwrap();
    assert_eq!(metadata["reason"], "Cash\ndesk");
    let lone = json!({"amount": "1", "reason": "Cash\rdesk"});
    assert_eq!(service.post(&admin, &credit, &lone).await.fields(), ["reason"]);
}

#[tokio::test]
async fn a_client_that_has_the_list_is_not_sent_it_again() {
    let service = Service::start().await;
    let alice = service.person("alice", &["user"]).await;
    let tv = service.offer("TV", 500).await;
    let tag = service.get(&alice, "/offers/").await.headers["etag"].to_str().unwrap().to_owned();
    let ask =
        |tags: String| send(service.request(&alice, Method::GET, "/offers/").header("If-None-Match", tags));
    for tags in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let reply = ask(tags.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.text.as_str()), (304, ""), "{tags}");
        assert_eq!(reply.headers["etag"].to_str().unwrap(), tag);
    }
    service
        .change(tv, Change { price: Some(domain::Money::from_hundredths(600)), ..Change::default() })
        .await;
    let reply = ask(tag.clone()).await;
    assert_eq!(reply.status, 200);
    assert_ne!(reply.headers["etag"].to_str().unwrap(), tag);
}

#[tokio::test]
async fn a_walk_over_the_pages_misses_and_repeats_nothing() {
    let service = Service::start().await;
    let alice = service.person("alice", &["user"]).await;
    for name in ["A", "B", "C", "D", "D", "E"] {
        service.offer(name, 100).await;
    }
    assert_eq!(names(&service.walk(&alice, "/offers/?limit=1").await), ["A", "B", "C", "D", "D", "E"]);
    assert_eq!(names(&service.walk(&alice, "/offers?limit=4").await), ["A", "B", "C", "D", "D", "E"]);
    let first = service.get(&alice, "/offers/?limit=2&x=%20y").await.json();
    let next = first["next"].as_str().unwrap();
    assert!(next.starts_with("/api/v1/offers/?limit=2&x=%20y&cursor="), "{next}");
    service.offer("0 new", 100).await;
    let second = send(service.anonymous(Method::GET, next).bearer_auth(&alice.token)).await.json();
    assert_eq!(names(second["results"].as_array().unwrap()), ["C", "D"]);
}

#[tokio::test]
async fn an_offer_that_is_not_to_be_sold_yet_never_was() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let mut later = offer(&json!("19.9"));
    later["is_active"] = json!(false);
    let created = service.post(&root, "/admin/offers/", &later).await;
    assert_eq!((created.status.as_u16(), &created.json()["is_active"]), (201, &json!(false)));
    let id = created.id("id");
    let events = service.resources.log.stream(StreamId::of::<Offer>(id)).await.unwrap();
    let names: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(names, ["Created", "Deactivated"]);
    assert_eq!(events[0].commit_end, events[1].position, "nobody has seen the one without the other");
    service.post(&alice, "/activation/", &json!({"offer_id": id})).await.is(404, "offer_not_found");
}

#[tokio::test]
async fn an_admin_puts_an_offer_on_sale_and_reads_it_back() {
    let service = Service::start().await;
    let (root, alice) = (service.admin().await, service.rich("alice").await);
    let created = service.post(&root, "/admin/offers/", &offer(&json!("19.9"))).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let id = created.id("id");
    let seen = service.get(&alice, &format!("/offers/{id}/")).await.json();
    assert_eq!(seen, created.json());
    assert_eq!((&seen["price"], &seen["is_active"]), (&json!("19.90"), &json!(true)));
    assert_eq!(seen["description"], "All\nchannels");

    let path = format!("/admin/offers/{id}/");
    let changed = service.patch(&root, &path, &json!({"price": 25, "is_active": false})).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let seen = service.get(&alice, &format!("/offers/{id}/")).await.json();
    assert_eq!(seen, changed.json());
    assert_eq!(
        (&seen["price"], &seen["is_active"], &seen["name"]),
        (&json!("25.00"), &json!(false), &json!("TV"))
    );
    service.post(&alice, "/activation/", &json!({"offer_id": id})).await.is(404, "offer_not_found");

    let nothing = service.patch(&root, &path, &json!({})).await;
    assert_eq!((nothing.status.as_u16(), nothing.json()), (200, seen));
    service.patch(&root, &path, &json!({"is_active": true})).await;
    assert_eq!(service.post(&alice, "/activation/", &json!({"offer_id": id})).await.status, 202);
    let path = format!("/admin/offers/{}/", Uuid::now_v7());
    for body in [json!({"price": "1"}), json!({"is_active": false}), json!({})] {
        service.patch(&root, &path, &body).await.is(404, "offer_not_found");
    }
}

#[tokio::test]
async fn prices_are_judged_as_they_were_written() {
    let service = Service::start().await;
    let root = service.admin().await;
    for (written, stored) in [
        ("\"0\"", "0.00"),
        ("0.0", "0.00"),
        ("19.99", "19.99"),
        ("\"007.5\"", "7.50"),
        ("99999999.99", "99999999.99"),
    ] {
        let body = format!("{{\"name\":\"TV\",\"price\":{written},\"duration_days\":1}}");
        let request = service.request(&root, Method::POST, "/admin/offers/").body(body);
        let reply = send(request.header("content-type", "application/json")).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["price"]), (201, &json!(stored)), "{written}");
    }
    for written in [
        "1e18",
        "1E2",
        "\"1e2\"",
        "\"+1\"",
        "\"1.\"",
        "\".5\"",
        "\"NaN\"",
        "\"\"",
        "\" 1\"",
        "19.999",
        "-1",
        "\"-1\"",
        "123456789",
        "123456789012345678901234567890",
        "\"123456789012345678901234567890\"",
        "null",
        "true",
        "[]",
        "{}",
        "\"1,00\"",
        "\"Infinity\"",
    ] {
        let body = format!("{{\"name\":\"TV\",\"price\":{written},\"duration_days\":1}}");
        let request = service.request(&root, Method::POST, "/admin/offers/").body(body);
        let reply = send(request.header("content-type", "application/json")).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), ["price"], "{written}");
    }
}

#[tokio::test]
async fn every_wrong_member_of_an_offer_is_reported_in_one_answer() {
    let service = Service::start().await;
    let root = service.admin().await;
    let body =
        json!({"name": "", "description": "a\u{0}", "price": "x", "duration_days": 0, "colour": "red"});
    let reply = service.post(&root, "/admin/offers/", &body).await;
    reply.is(400, "invalid_request");
    assert_eq!(reply.fields(), ["name", "description", "price", "duration_days", "colour"]);
    let reply = service.post(&root, "/admin/offers/", &json!({})).await;
    assert_eq!(reply.fields(), ["name", "price", "duration_days"]);
    for days in [json!(3651), json!("30"), json!(1.5), json!(-1), json!(null)] {
        let body = json!({"name": "TV", "price": "1", "duration_days": days});
        assert_eq!(service.post(&root, "/admin/offers/", &body).await.fields(), ["duration_days"], "{days}");
    }
    let id = service.offer("TV", 100).await;
    let body = json!({"name": null, "is_active": "yes", "id": id});
    let reply = service.patch(&root, &format!("/admin/offers/{id}/"), &body).await;
    assert_eq!(reply.fields(), ["name", "is_active", "id"]);
}
