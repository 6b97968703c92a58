//! The real service on a port of its own, and people who call it.

use super::stack::{Sandbox, Stack};
use super::{config, documented};
use crate::support::http;
use domain::account::{Command, Kind};
use domain::offer::Terms;
use domain::transaction::Transaction;
use domain::{
    AccountId, Metadata, Money, OfferId, PartnerId, Recorded, SubscriptionId, TransactionId, UserId,
};
use domain::{transaction, user_offer};
use metrics_exporter_prometheus::PrometheusHandle;
use offers::app::{App, Dependencies, catalogue};
use offers::clock::Clock;
use offers::config::Protection;
use offers::event_log::{AggregateCommand, Outcome, Plan, StreamId};
use offers::identity::{Actor, CallbackUrl, NewUser, Roles};
use offers::runtime;
use offers::tree::SigningKey;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery";
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running service; it ends when dropped.
pub struct Service {
    pub app: Arc<App>,
    pub resources: Dependencies,
    pub url: String,
    pub redis_url: String,
    client: reqwest::Client,
    running: runtime::Service,
}

/// Who calls.
pub struct Person {
    pub id: UserId,
    pub token: String,
}

/// A system that sells for people.
pub struct Shop {
    pub id: PartnerId,
    pub key: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

/// What a service is started with, when it is not the usual.
pub struct Setting {
    pub clock: Clock,
    pub redis_url: Option<String>,
    pub database_url: Option<String>,
    pub nats_url: Option<String>,
    /// Whether it has the role `projector` in addition to `api`.
    pub projects: bool,
    pub protection: Protection,
    /// Where the activation system is: then the service has every role, and an access token lives for two hours.
    pub external_url: Option<String>,
    /// Signs checkpoints.
    pub checkpoint_key: Option<SigningKey>,
    /// Where health and metrics alone are served.
    pub metrics_listen: Option<SocketAddr>,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            clock: Clock::system(),
            redis_url: None,
            database_url: None,
            nats_url: None,
            projects: true,
            external_url: None,
            protection: Protection::default(),
            checkpoint_key: None,
            metrics_listen: None,
        }
    }
}

impl Service {
    pub async fn start() -> Self {
        Self::start_with(Setting::default()).await
    }

    pub async fn start_with(setting: Setting) -> Self {
        Self::start_in(&Stack::get().await.sandbox().await, setting).await
    }

    /// One more service on what a sandbox already holds.
    pub async fn start_in(sandbox: &Sandbox, setting: Setting) -> Self {
        let mut sandbox = sandbox.clone();
        sandbox.redis_url = setting.redis_url.unwrap_or(sandbox.redis_url);
        sandbox.database_url = setting.database_url.unwrap_or(sandbox.database_url);
        sandbox.nats_url = setting.nats_url.unwrap_or(sandbox.nats_url);
        let roles = match (&setting.external_url, setting.projects) {
            (Some(_), _) => "api,relay,projector,processor,scheduler",
            (None, true) => "api,projector",
            (None, false) => "api",
        };
        let external = setting
            .external_url
            .as_deref()
            .map(|url| ["--external-url", url, "--external-timeout", "1s", "--access-token-ttl", "2h"]);
        let key = setting.checkpoint_key.map(|key| key.expose());
        let flags: Vec<&str> = ["--roles", roles]
            .into_iter()
            .chain(external.into_iter().flatten())
            .chain(key.iter().flat_map(|key| ["--checkpoint-key", key.as_str()]))
            .collect();
        let mut config = config::serve(&sandbox, &flags);
        config.protection = setting.protection;
        config.metrics_listen = setting.metrics_listen;
        let service = runtime::Service::start(&config, setting.clock, metrics()).await.unwrap();
        let url = format!("http://{}", service.address.unwrap());
        let (app, resources) = (service.app.clone(), service.resources.clone());
        Self { app, resources, url, redis_url: sandbox.redis_url, client: http(), running: service }
    }

    /// Ends in order, as after SIGTERM.
    pub async fn stop(self) {
        self.running.stop().await;
    }

    /// A user with 1000.00.
    pub async fn rich(&self, name: &str) -> Person {
        let person = self.person(name, &["user"]).await;
        self.pay_in(person.id.into(), 100_000).await;
        person
    }

    /// A user with nothing.
    pub async fn person(&self, name: &str, roles: &[&str]) -> Person {
        let new = NewUser {
            username: name.to_owned(),
            password: PASSWORD.into(),
            email: format!("{name}@example.com"),
            first_name: String::new(),
            last_name: String::new(),
            roles: Roles::parse(roles.iter().copied()).unwrap(),
        };
        let now = self.app.clock.now().utc();
        let user = self.app.identity.create_user(&new, &Actor::system("test"), now).await.unwrap();
        self.app
            .accounts
            .open(user.id.into(), Kind::User, &Metadata::system("test", Uuid::now_v7()))
            .await
            .unwrap();
        self.app.identity.confirm_user(user.id).await.unwrap();
        let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let grant = self.app.identity.login(name, &PASSWORD.into(), home, now).await.unwrap();
        Person { id: user.id, token: grant.access.expose_secret().to_owned() }
    }

    pub async fn admin(&self) -> Person {
        self.person("root", &["admin"]).await
    }

    /// A partner with so much on its float account.
    pub async fn shop(&self, name: &str, hundredths: i64) -> Shop {
        self.shop_at(name, hundredths, None).await
    }

    /// The same, with a registered callback URL.
    pub async fn shop_at(&self, name: &str, hundredths: i64, url: Option<&str>) -> Shop {
        let now = self.app.clock.now().utc();
        let url = url.map(|url| CallbackUrl::parse(url).unwrap());
        let new =
            self.app.identity.create_partner(name, url.as_ref(), &Actor::system("test"), now).await.unwrap();
        let id = new.partner.id;
        self.app
            .accounts
            .open(id.into(), Kind::Partner, &Metadata::system("test", Uuid::now_v7()))
            .await
            .unwrap();
        if hundredths > 0 {
            self.pay_in(id.into(), hundredths).await;
        }
        Shop { id, key: new.key.api_key.expose_secret().to_owned() }
    }

    pub async fn pay_in(&self, account: AccountId, hundredths: i64) {
        let amount = Money::from_hundredths(hundredths);
        let plan = Plan::new().command(AggregateCommand::Account(account, Command::Credit { amount }));
        self.resources.log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
    }

    /// An offer on sale for 30 days, in the lists.
    pub async fn offer(&self, name: &str, hundredths: i64) -> OfferId {
        let (id, position) = self.create_offer(name, hundredths).await;
        self.listed(position).await;
        id
    }

    /// The same, maybe not in the lists yet, and where it stands in the log.
    pub async fn create_offer(&self, name: &str, hundredths: i64) -> (OfferId, i64) {
        let id = OfferId(Uuid::now_v7());
        let terms = Terms {
            name: name.to_owned(),
            description: "For tests".to_owned(),
            price: Money::from_hundredths(hundredths),
            duration_days: 30,
        };
        let system = Metadata::system("test", Uuid::now_v7());
        let position = self.app.catalogue.create(id, terms, true, &system).await.unwrap();
        (id, position.unwrap())
    }

    pub async fn change(&self, id: OfferId, change: catalogue::Change) {
        let position =
            self.app.catalogue.change(id, &change, &Metadata::system("test", Uuid::now_v7())).await.unwrap();
        self.listed(position.unwrap()).await;
    }

    /// Waits until the lists have everything up to `position`.
    pub async fn listed(&self, position: i64) {
        self.resources.readers.checkpoint().wait_for(position, Instant::now() + PATIENCE).await.unwrap();
    }

    /// Waits until the lists have everything.
    pub async fn all_listed(&self) {
        self.listed(self.resources.log.head().await.unwrap()).await;
    }

    /// The first event of a transaction.
    pub async fn first_event(&self, transaction: Uuid) -> Recorded {
        let stream = StreamId::of::<Transaction>(transaction);
        self.resources.log.stream(stream).await.unwrap().remove(0)
    }

    /// What the processor does before it asks the external system.
    pub async fn begin(&self, id: TransactionId) {
        let command = transaction::Command::BeginAttempt { attempt: 1 };
        self.execute(Plan::new().command(AggregateCommand::Transaction(id, command))).await;
    }

    /// What the processor does when the external system has done it.
    pub async fn succeed(&self, id: TransactionId, person: &Person, offer_id: OfferId) {
        self.begin(id).await;
        let succeed = transaction::Command::Succeed { reference: "EXT-1".to_owned() };
        let activate = user_offer::Command::Activate {
            user_id: person.id,
            offer_id,
            transaction_id: id,
            duration_days: 30,
            at: self.app.clock.now(),
        };
        let plan = Plan::new()
            .command(AggregateCommand::Transaction(id, succeed))
            .command(AggregateCommand::UserOffer(SubscriptionId::started_by(id), activate));
        self.execute(plan).await;
    }

    /// What the processor does when the external system has refused.
    pub async fn fail(&self, id: TransactionId) {
        self.begin(id).await;
        let fail = transaction::Command::Fail { code: "rejected".to_owned(), message: "No".to_owned() };
        self.execute(Plan::new().command(AggregateCommand::Transaction(id, fail))).await;
    }

    pub async fn execute(&self, plan: Plan) -> i64 {
        let outcome =
            self.resources.log.commit(&Metadata::system("test", Uuid::now_v7()), plan).await.unwrap();
        match outcome {
            Outcome::Committed(committed) => committed.last,
            Outcome::Unchanged => panic!("the plan repeated what was done"),
        }
    }

    pub fn anonymous(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// A request below `/api/v1`.
    pub fn request(&self, person: &Person, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.anonymous(method, &format!("/api/v1{path}")).bearer_auth(&person.token)
    }

    /// The same by a partner.
    pub fn request_by(&self, shop: &Shop, method: Method, path: &str) -> reqwest::RequestBuilder {
        let header = format!("ApiKey {}", shop.key);
        self.anonymous(method, &format!("/api/v1{path}")).header("Authorization", header)
    }

    pub async fn get(&self, person: &Person, path: &str) -> Reply {
        send(self.request(person, Method::GET, path)).await
    }

    pub async fn post(&self, person: &Person, path: &str, body: &Value) -> Reply {
        send(self.request(person, Method::POST, path).json(body)).await
    }

    pub async fn patch(&self, person: &Person, path: &str, body: &Value) -> Reply {
        send(self.request(person, Method::PATCH, path).json(body)).await
    }

    /// The same with an `Idempotency-Key`.
    pub async fn post_once(&self, person: &Person, path: &str, body: &Value, key: &str) -> Reply {
        send(self.request(person, Method::POST, path).json(body).header("Idempotency-Key", key)).await
    }

    pub async fn balance(&self, person: &Person) -> String {
        let reply = self.get(person, "/account/balance/").await;
        reply.json()["balance"].as_str().unwrap().to_owned()
    }

    /// Follows `next` from `path` to the end.
    pub async fn walk(&self, person: &Person, path: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut next = Some(format!("/api/v1{path}"));
        while let Some(path) = next {
            let page = send(self.anonymous(Method::GET, &path).bearer_auth(&person.token)).await;
            assert_eq!(page.status, StatusCode::OK, "{}", page.text);
            let page = page.json();
            assert!(page["previous"].is_null());
            all.extend(page["results"].as_array().unwrap().iter().cloned());
            next = page["next"].as_str().map(str::to_owned);
        }
        all
    }
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The code of a problem, whose shape is checked on the way.
    pub fn code(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["detail"], body["error"]);
        assert_eq!(body["request_id"], self.headers["x-request-id"].to_str().unwrap());
        for member in ["type", "title", "detail", "instance", "code"] {
            assert!(body[member].is_string(), "{member} in {body}");
        }
        body["code"].as_str().unwrap().to_owned()
    }

    /// The names of the fields that the answer calls wrong.
    pub fn fields(&self) -> Vec<String> {
        let body = self.json();
        let errors = body["errors"].as_array().unwrap_or_else(|| panic!("no errors: {self:?}"));
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }

    pub fn id(&self, member: &str) -> Uuid {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member}: {self:?}")).parse().unwrap()
    }

    /// Panics unless this is the answer that was wanted.
    pub fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.code().as_str()), (status, code), "{self:?}");
    }
}

/// Sends, and checks that the API's document tells what came back.
pub async fn send(request: reqwest::RequestBuilder) -> Reply {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let reply = Reply { status, headers, text: response.text().await.unwrap() };
    documented::check(&method, &path, &reply);
    reply
}

/// One recorder a process.
pub fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || offers::telemetry::collect_metrics().unwrap();
    METRICS.get_or_init(install).clone()
}
