//! Who may touch what: every caller on every route with an id, and nobody on any route.
//!
//! The routes are the router's own, so a new one without a row here fails the test. What is not yours
//! and what is not there are answered with the same bytes.

use crate::support::service::{PASSWORD, Person, Reply, Service, Setting, Shop, send};
use crate::support::stack::{Sandbox, Stack};
use domain::{OfferId, SubscriptionId, TransactionId, UserId};
use futures::future::join_all;
use offers::identity::{Actor, KeyId, SessionId};
use offers::processors::Unhandled;
use offers::tree::SigningKey;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Alice,
    Bob,
    /// Sold something to alice.
    Shop,
    OtherShop,
    Auditor,
    Admin,
    Nobody,
}

use Who::{Admin, Alice, Auditor, Bob, Nobody, OtherShop, Shop as TheShop};

const EVERYBODY: [Who; 7] = [Alice, Bob, TheShop, OtherShop, Auditor, Admin, Nobody];
const KNOWN: &[Who] = &[Alice, Bob, TheShop, OtherShop, Auditor, Admin];
const SHOPS: &[Who] = &[TheShop, OtherShop];
/// Those without the role `user`.
const NO_USERS: &[Who] = &[TheShop, OtherShop, Auditor, Admin];
const NOT_ADMINS: &[Who] = &[Alice, Bob, TheShop, OtherShop, Auditor];
const NOT_AUDITORS: &[Who] = &[Alice, Bob, TheShop, OtherShop];

/// What an id names.
#[derive(Clone, Copy, Debug)]
enum Thing {
    Offer,
    /// What alice bought for herself.
    Purchase,
    /// What the shop sold to alice.
    Sale,
    /// The same by its reference.
    SaleReference,
    /// Alice's.
    Subscription,
    /// Alice, and her account.
    User,
    /// A user who asks for nothing.
    Carol,
    /// The shop.
    Partner,
    OtherPartner,
    /// The other shop's second one.
    Key,
    /// To the shop.
    Callback,
    /// A message that nobody could handle.
    Parked,
    /// One of alice's logins.
    Session,
    /// To alice.
    Mail,
    /// A record of the log.
    Position,
}

/// Something with an owner, and what becomes of everybody who asks for it. Who is named nowhere is told
/// that it is not there; nobody is always told to say who it is.
struct Row {
    method: &'static str,
    /// As the router has it.
    path: &'static str,
    thing: Thing,
    /// What the first id names, in a path with two.
    within: Option<Thing>,
    /// The member of the body that holds the id, for a path without one.
    member: Option<&'static str>,
    body: Value,
    /// Those for whom it is there, and the status they get.
    may: (&'static [Who], u16),
    /// Those who are told that this is not for them, whatever they ask for.
    forbidden: &'static [Who],
}

impl Row {
    fn new(method: &'static str, path: &'static str, thing: Thing) -> Self {
        let may: (&[Who], u16) = (&[], 200);
        Self { method, path, thing, within: None, member: None, body: Value::Null, may, forbidden: &[] }
    }

    fn within(self, owner: Thing) -> Self {
        Self { within: Some(owner), ..self }
    }

    fn in_member(self, member: &'static str) -> Self {
        Self { member: Some(member), ..self }
    }

    fn with(self, body: Value) -> Self {
        Self { body, ..self }
    }

    fn may(self, who: &'static [Who], status: u16) -> Self {
        Self { may: (who, status), ..self }
    }

    fn forbidden(self, forbidden: &'static [Who]) -> Self {
        Self { forbidden, ..self }
    }
}

/// One row or more for every route with an id; add yours here.
fn rows(fixture: &Fixture) -> Vec<Row> {
    let paid = json!({"amount": "1.00", "reason": "test"});
    let sale = json!({"offer_id": fixture.offer, "amount": "10.00"});
    vec![
        Row::new("GET", "/offers/{id}", Thing::Offer).may(KNOWN, 200),
        Row::new("POST", "/offers/renew", Thing::Subscription)
            .in_member("subscription_id")
            .may(&[Alice], 202)
            .forbidden(NO_USERS),
        Row::new("GET", "/account/transactions/{id}", Thing::Purchase).may(&[Alice], 200).forbidden(SHOPS),
        Row::new("GET", "/account/transactions/{id}", Thing::Sale).may(&[Alice], 200).forbidden(SHOPS),
        Row::new("GET", "/account/transactions/{id}/receipt", Thing::Purchase)
            .may(&[Alice], 200)
            .forbidden(SHOPS),
        Row::new("GET", "/account/transactions/{id}/receipt", Thing::Sale).forbidden(SHOPS),
        Row::new("GET", "/partner/receipts/{reference}", Thing::SaleReference)
            .may(&[TheShop], 200)
            .forbidden(&[Alice, Bob, Auditor, Admin]),
        Row::new("GET", "/audit/receipts/{position}", Thing::Position)
            .may(&[Auditor, Admin], 200)
            .forbidden(NOT_AUDITORS),
        Row::new("GET", "/activation/status/{id}", Thing::Purchase).may(&[Alice], 200),
        Row::new("GET", "/activation/status/{id}", Thing::Sale).may(&[Alice, TheShop], 200),
        Row::new("POST", "/partner/activate", Thing::User)
            .in_member("user_id")
            .with(sale)
            .may(&[Alice, TheShop, OtherShop], 201)
            .forbidden(&[Bob, Auditor, Admin]),
        Row::new("GET", "/partner/validate/{reference}", Thing::SaleReference).may(&[Alice, TheShop], 200),
        Row::new("DELETE", "/auth/sessions/{id}", Thing::Session).may(&[Alice], 204).forbidden(SHOPS),
        Row::new("GET", "/admin/users/{id}", Thing::User).may(&[Admin], 200).forbidden(NOT_ADMINS),
        administered("GET", "/admin/users/{id}/sessions", Thing::User, 200),
        administered("GET", "/admin/users/{id}/subscriptions", Thing::User, 200),
        administered("GET", "/admin/users/{id}/statement", Thing::User, 200),
        administered("GET", "/admin/partners/{id}/statement", Thing::Partner, 200),
        administered("GET", "/admin/users/{id}/changes", Thing::User, 200),
        administered("GET", "/admin/users/{id}/mail", Thing::User, 200),
        administered("POST", "/admin/mail/{id}/resend", Thing::Mail, 202),
        administered("GET", "/admin/transactions/{id}", Thing::Sale, 200),
        Row::new("PATCH", "/admin/users/{id}", Thing::User)
            .with(json!({"email": "new@example.com"}))
            .may(&[Admin], 200)
            .forbidden(NOT_ADMINS),
        Row::new("GET", "/admin/accounts/{owner_id}", Thing::User).may(&[Admin], 200).forbidden(NOT_ADMINS),
        Row::new("POST", "/admin/accounts/{owner_id}/credit", Thing::User)
            .with(paid.clone())
            .may(&[Admin], 201)
            .forbidden(NOT_ADMINS),
        Row::new("POST", "/admin/accounts/{owner_id}/debit", Thing::User)
            .with(paid)
            .may(&[Admin], 201)
            .forbidden(NOT_ADMINS),
        Row::new("PATCH", "/admin/offers/{id}", Thing::Offer)
            .with(json!({"description": "New"}))
            .may(&[Admin], 200)
            .forbidden(NOT_ADMINS),
        administered("GET", "/admin/partners/{id}", Thing::Partner, 200),
        administered("PATCH", "/admin/partners/{id}", Thing::Partner, 200).with(json!({"name": "New"})),
        administered("GET", "/admin/partners/{id}/keys", Thing::Partner, 200),
        administered("POST", "/admin/partners/{id}/keys", Thing::Partner, 201),
        administered("DELETE", "/admin/partners/{id}/keys/{key_id}", Thing::Key, 204)
            .within(Thing::OtherPartner),
        administered("POST", "/admin/partners/{id}/webhook-secret", Thing::Partner, 201),
        administered("GET", "/admin/callbacks/{id}", Thing::Callback, 200),
        administered("POST", "/admin/callbacks/{id}/resend", Thing::Callback, 202),
        administered("POST", "/admin/transactions/{id}/retry", Thing::Sale, 202),
        administered("POST", "/admin/transactions/{id}/resolve", Thing::Sale, 202)
            .with(json!({"outcome": "failed", "reason": "not in their list"})),
        administered("GET", "/admin/parked/{id}", Thing::Parked, 200),
        administered("POST", "/admin/parked/{id}/requeue", Thing::Parked, 202),
        Row::new("POST", "/partner/callbacks/{id}/resend", Thing::Callback)
            .may(&[TheShop], 202)
            .forbidden(&[Alice, Bob, Auditor, Admin]),
        Row::new("DELETE", "/partner/keys/{key_id}", Thing::Key)
            .may(&[OtherShop], 204)
            .forbidden(&[Alice, Bob, Auditor, Admin]),
        Row::new("GET", "/partner/callbacks/{id}", Thing::Callback)
            .may(&[TheShop], 200)
            .forbidden(&[Alice, Bob, Auditor, Admin]),
        Row::new("GET", "/audit/accounts/{owner_id}/balance", Thing::User)
            .may(&[Auditor, Admin], 200)
            .forbidden(NOT_AUDITORS),
        Row::new("GET", "/audit/transactions/{id}", Thing::Purchase)
            .may(&[Auditor, Admin], 200)
            .forbidden(NOT_AUDITORS),
        administered("POST", "/admin/users/{id}/erase", Thing::Carol, 200).with(json!({"reason": "test"})),
        administered("DELETE", "/admin/users/{id}/sessions", Thing::User, 204), // the last: nothing is alice's after it
    ]
}

fn administered(method: &'static str, path: &'static str, thing: Thing, status: u16) -> Row {
    Row::new(method, path, thing).may(&[Admin], status).forbidden(NOT_ADMINS)
}

/// What needs no caller.
const OPEN: [(&str, &str); 5] = [
    ("POST", "/auth/login"),
    ("POST", "/auth/refresh"),
    ("POST", "/auth/logout"),
    ("GET", "/audit/checkpoint"),
    ("GET", "/audit/key"),
];

/// An id that names nothing.
const NIL: &str = "00000000-0000-0000-0000-000000000000";

struct Fixture {
    service: Service,
    people: [Person; 4],
    shops: [Shop; 2],
    offer: OfferId,
    purchase: TransactionId,
    subscription: SubscriptionId,
    sale: TransactionId,
    reference: String,
    key: KeyId,
    callback: Uuid,
    parked: Uuid,
    session: SessionId,
    mail: Uuid,
    carol: UserId,
}

impl Fixture {
    async fn new() -> Self {
        let checkpoint_key = Some(SigningKey::from_seed("test.example/log", [7; 32]).unwrap());
        let setting = Setting { checkpoint_key, ..Setting::default() };
        let sandbox = Stack::get().await.sandbox().await;
        let service = Box::pin(Service::start_in(&sandbox, setting)).await;
        let (alice, bob) = (service.rich("alice").await, service.rich("bob").await);
        let (auditor, admin) = (service.person("auditor", &["auditor"]).await, service.admin().await);
        let hook = Some("https://shop.example/hook");
        let shops = [service.shop_at("shop", 100_000, hook).await, service.shop("other", 100_000).await];
        let offer = service.offer("TV", 1000).await;
        let bought = service.post(&alice, "/activation/", &json!({"offer_id": offer})).await;
        let purchase = TransactionId(bought.id("transaction_id"));
        service.succeed(purchase, &alice, offer).await;
        let body = json!({"user_id": alice.id, "offer_id": offer, "amount": "10.00"});
        let sold = send(service.request_by(&shops[0], Method::POST, "/partner/activate/").json(&body)).await;
        service.all_listed().await;
        let (app, now) = (&service.app, service.app.clock.now().utc());
        let unhandled = Unhandled {
            position: 1,
            subject: "offers.events.offer.created".to_owned(),
            event_id: None,
            aggregate_id: None,
            reason: "for tests".to_owned(),
            attempts: 1,
        };
        app.parked.keep("activation", &unhandled).await.unwrap();
        let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let session = app.identity.login("alice", &PASSWORD.into(), home, now).await.unwrap().session;
        let mail = sent_mail(&sandbox, alice.id).await;
        let carol = service.person("carol", &["user"]).await.id;
        Self {
            key: app.identity.create_key(shops[1].id, &Actor::system("test"), now).await.unwrap().key_id,
            callback: app.callbacks.enqueue_ping(shops[0].id).await.unwrap(),
            parked: app.parked.waiting(None, 1).await.unwrap().items[0].id,
            session,
            mail,
            carol,
            purchase,
            subscription: SubscriptionId::started_by(purchase),
            sale: TransactionId(sold.id("transaction_id")),
            reference: sold.json()["reference"].as_str().unwrap().to_owned(),
            people: [alice, bob, auditor, admin],
            shops,
            offer,
            service,
        }
    }

    fn id(&self, thing: Thing) -> String {
        match thing {
            Thing::Offer => self.offer.to_string(),
            Thing::Purchase => self.purchase.to_string(),
            Thing::Sale => self.sale.to_string(),
            Thing::SaleReference => self.reference.clone(),
            Thing::Subscription => self.subscription.to_string(),
            Thing::User => self.people[0].id.to_string(),
            Thing::Carol => self.carol.to_string(),
            Thing::Partner => self.shops[0].id.to_string(),
            Thing::OtherPartner => self.shops[1].id.to_string(),
            Thing::Key => self.key.to_string(),
            Thing::Callback => self.callback.to_string(),
            Thing::Parked => self.parked.to_string(),
            Thing::Session => self.session.0.to_string(),
            Thing::Mail => self.mail.to_string(),
            Thing::Position => "11".to_owned(),
        }
    }

    fn ask(&self, who: Who, method: &str, path: &str) -> RequestBuilder {
        let (service, [alice, bob, auditor, admin], [shop, other]) =
            (&self.service, &self.people, &self.shops);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        match who {
            Alice => service.request(alice, method, path),
            Bob => service.request(bob, method, path),
            Auditor => service.request(auditor, method, path),
            Admin => service.request(admin, method, path),
            TheShop => service.request_by(shop, method, path),
            OtherShop => service.request_by(other, method, path),
            Nobody => service.anonymous(method, &format!("/api/v1{path}")),
        }
    }

    async fn touch(&self, who: Who, row: &Row, id: &str) -> Reply {
        let owner = row.within.map(|owner| self.id(owner));
        let path = filled(row.path, owner.iter().map(String::as_str).chain([id]));
        let mut body = row.body.clone();
        if let Some(member) = row.member {
            body[member] = json!(id);
        }
        let request = self.ask(who, row.method, &format!("{path}/")).header("X-Request-Id", "the-same");
        send(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// Every route that the router has, method by method.
    async fn routes(&self) -> BTreeSet<(String, String)> {
        let asked = offers::http::paths().into_iter().map(|path| async move {
            let example = filled(&path, std::iter::repeat("x"));
            let refused = send(self.ask(Admin, "PROBE", &example)).await;
            refused.is(405, "method_not_allowed");
            let allowed = refused.headers["allow"].to_str().unwrap().to_owned();
            let methods = allowed.split(',').filter(|method| *method != "HEAD").map(str::to_owned);
            methods.map(|method| (method, path.clone())).collect::<Vec<_>>()
        });
        join_all(asked).await.into_iter().flatten().collect()
    }
}

/// A mail that was sent to `user`.
async fn sent_mail(sandbox: &Sandbox, user: UserId) -> Uuid {
    let mut database = PgConnection::connect(&sandbox.database_url).await.unwrap();
    let query = "insert into sent_mail (event_id, user_id, position, kind, aggregate_id, state, next_attempt_at, created_at)
                 values (gen_random_uuid(), $1, 1, 'succeeded', gen_random_uuid(), 'sent', now(), now())
                 returning event_id";
    sqlx::query_scalar(query).bind(user.0).fetch_one(&mut database).await.unwrap()
}

/// `path` with `ids` in the places of its parameters, such as `{id}`.
fn filled<'a>(path: &str, ids: impl IntoIterator<Item = &'a str>) -> String {
    let mut ids = ids.into_iter();
    let fill = |part: &str| match part.starts_with('{') {
        true => ids.next().expect("an id for every parameter").to_owned(),
        false => part.to_owned(),
    };
    path.split('/').map(fill).collect::<Vec<_>>().join("/")
}

/// Another id of the same form, which names nothing.
fn unknown(thing: Thing) -> String {
    match thing {
        Thing::SaleReference => "REF-ZZZZZZZZZZZZ".to_owned(),
        Thing::Position => "99".to_owned(),
        _ => Uuid::now_v7().to_string(),
    }
}

/// Everything of an answer but the id that was asked for and the time.
fn without_id(reply: &Reply, id: &str) -> (u16, HeaderMap, String) {
    let mut headers = reply.headers.clone();
    headers.remove("date");
    (reply.status.as_u16(), headers, reply.text.replace(id, "ID"))
}

#[tokio::test]
async fn what_is_not_yours_looks_like_what_is_not_there() {
    let fixture = Fixture::new().await;
    for row in rows(&fixture) {
        let (id, none) = (fixture.id(row.thing), unknown(row.thing));
        let before = fixture.service.resources.log.head().await.unwrap();
        for who in EVERYBODY.into_iter().filter(|who| !row.may.0.contains(who)) {
            let case = format!("{who:?}: {} {} for {:?}", row.method, row.path, row.thing);
            let (there, not_there) =
                (fixture.touch(who, &row, &id).await, fixture.touch(who, &row, &none).await);
            let expected = match who {
                Nobody => 401,
                _ if row.forbidden.contains(&who) => 403,
                _ => 404,
            };
            assert_eq!(there.status, expected, "{case}: {}", there.text);
            assert_eq!(without_id(&there, &id), without_id(&not_there, &none), "{case}");
        }
        assert_eq!(
            fixture.service.resources.log.head().await.unwrap(),
            before,
            "{} {}",
            row.method,
            row.path
        );
        for who in row.may.0 {
            let reply = fixture.touch(*who, &row, &id).await;
            let case = format!("{who:?}: {} {} for {:?}", row.method, row.path, row.thing);
            assert_eq!(reply.status, row.may.1, "{case}: {}", reply.text);
        }
    }
}

#[tokio::test]
async fn an_id_that_is_none_is_told_to_whom_the_route_is_open() {
    let fixture = Fixture::new().await;
    for row in rows(&fixture).iter().filter(|row| row.path.contains("{id}")) {
        for id in ["7", "x", "%00", "0190b0c56f7a7cc29d5e0c2c5f3f4a11"] {
            let who = row.may.0.first().copied().unwrap_or(Alice);
            fixture.touch(who, row, id).await.is(400, "malformed_id");
        }
        for who in row.forbidden {
            fixture.touch(*who, row, "7").await.is(403, "forbidden");
        }
        fixture.touch(Nobody, row, "7").await.is(401, "not_authenticated");
    }
}

#[tokio::test]
async fn every_route_with_an_id_has_a_row() {
    let fixture = Fixture::new().await;
    let rows = rows(&fixture);
    let routes = fixture.routes().await;
    let has_row =
        |(method, path): &&(String, String)| rows.iter().any(|row| row.method == method && row.path == *path);
    let forgotten: Vec<_> =
        routes.iter().filter(|route| route.1.contains('{')).filter(|route| !has_row(route)).collect();
    assert!(forgotten.is_empty(), "tests/it/ownership.rs has no row for {forgotten:?}");
    let gone: Vec<_> = rows
        .iter()
        .map(|row| (row.method.to_owned(), row.path.to_owned()))
        .filter(|route| !routes.contains(route))
        .collect();
    assert!(gone.is_empty(), "the router has no {gone:?}");
}

/// Whose section a path is in: those are told of names that are not known.
fn whose_strict_section(path: &str) -> Option<Who> {
    let seeds_own = ["/partner/activate", "/partner/validate/{reference}"];
    match path.split('/').nth(1) {
        _ if seeds_own.contains(&path) => None,
        Some("admin" | "audit") => Some(Admin),
        Some("partner") => Some(TheShop),
        _ => None,
    }
}

#[tokio::test]
async fn a_name_that_is_not_known_is_refused_wherever_an_operator_an_auditor_or_a_partner_asks() {
    let fixture = Fixture::new().await;
    for (method, path) in fixture.routes().await {
        if OPEN.contains(&(method.as_str(), path.as_str())) {
            continue;
        }
        let example = filled(&path, std::iter::repeat(NIL));
        let Some(who) = whose_strict_section(&path) else { continue };
        let reply = send(fixture.ask(who, &method, &format!("{example}/?surprise=1"))).await;
        reply.is(400, "invalid_request");
        assert_eq!(reply.fields(), ["surprise"], "{method} {path}");
        let takes_a_body = &offers::http::openapi_document()["paths"][format!("/api/v1{path}/")]
            [method.to_lowercase()]["requestBody"];
        if takes_a_body.is_object() {
            let reply = send(fixture.ask(who, &method, &example).json(&json!({"surprise": 1}))).await;
            reply.is(400, "invalid_request");
            assert!(reply.fields().contains(&"surprise".to_owned()), "{method} {path}: {}", reply.text);
        }
    }
    let known = fixture.ask(Admin, "GET", "/admin/transactions/?transaction_id=1");
    let detail = send(known).await.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("user_id") && detail.contains("limit"), "it names the known: {detail}");
    let lenient = fixture.ask(Alice, "GET", "/offers/?surprise=1");
    assert_eq!(send(lenient).await.status, 200, "the seed's paths take what the seed took");
}

#[tokio::test]
async fn a_filter_for_what_nothing_can_be_is_refused() {
    let fixture = Fixture::new().await;
    for (who, path, filter, known) in [
        (Admin, "/audit/events/", "event_type=credited", "Credited"),
        (Admin, "/audit/events/", "aggregate_type=account", "Account"),
        (Admin, "/admin/transactions/", "status=success", "SUCCESS"),
        (Admin, "/admin/callbacks/", "status=PARKED", "parked"),
        (TheShop, "/partner/callbacks/", "status=PARKED", "parked"),
        (Admin, "/admin/offers/", "is_active=maybe", "true"),
        (Admin, "/admin/mail/", "status=SENT", "parked"),
        (Admin, "/admin/changes/", "actor=alice", "user"),
        (Admin, "/admin/changes/", "subject=user:7", "partner"),
        (TheShop, "/partner/transactions/", "status=done", "SUCCESS"),
        (Alice, "/account/transactions/", "status=success", "SUCCESS"),
        (Alice, "/account/transactions/", "kind=Partner", "partner"),
    ] {
        let reply = send(fixture.ask(who, "GET", &format!("{path}?{filter}"))).await;
        reply.is(400, "invalid_request");
        assert!(reply.text.contains(known), "{filter} names the known: {}", reply.text);
    }
}

#[tokio::test]
async fn nobody_gets_in_anywhere() {
    let fixture = Fixture::new().await;
    for (method, path) in fixture.routes().await {
        if OPEN.contains(&(method.as_str(), path.as_str())) {
            continue;
        }
        let example = filled(&path, std::iter::repeat(NIL));
        let body = json!({"amount": "1.00", "nonsense": [1]});
        let reply = send(fixture.ask(Nobody, &method, &example).json(&body)).await;
        reply.is(401, "not_authenticated");
        assert_eq!(reply.headers["www-authenticate"], "Bearer", "{method} {path}");
    }
}
