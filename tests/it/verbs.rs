//! An administrator at a terminal: the verbs of the binary that go through the API of a running service.

use crate::support::service::{PASSWORD, Person, Service};
use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use uuid::Uuid;

/// Somebody at a terminal, with a home directory of their own.
struct Terminal {
    url: String,
    token: Option<String>,
    home: PathBuf,
}

/// What a verb said, and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Terminal {
    fn at(url: &str, token: Option<&str>) -> Self {
        let home = std::env::temp_dir().join(format!("offers-verbs-{}", Uuid::now_v7()));
        Self { url: url.to_owned(), token: token.map(str::to_owned), home }
    }

    async fn of_admin(service: &Service) -> (Self, Person) {
        let root = service.admin().await;
        (Self::at(&service.url, Some(&root.token)), root)
    }

    fn logins(&self) -> PathBuf {
        self.home.join(".config/offers/logins.json")
    }

    /// What is kept for the service.
    fn login(&self) -> Value {
        let all: Value = serde_json::from_slice(&fs::read(self.logins()).unwrap()).unwrap();
        all[format!("{}/", self.url)].clone()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
        command.args(args).env_clear().env("OFFERS_API_URL", &self.url).env("HOME", &self.home);
        if let Some(token) = &self.token {
            command.env("OFFERS_API_TOKEN", token);
        }
        command
    }

    async fn says_with(&self, args: &[&str], stdin: &str) -> Said {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = command.spawn().unwrap();
        running.stdin.take().unwrap().write_all(stdin.as_bytes()).await.unwrap();
        let output = running.wait_with_output().await.unwrap();
        Said {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    async fn says(&self, args: &[&str]) -> Said {
        self.says_with(args, "").await
    }

    /// The result of a verb, as the API answered it.
    async fn json(&self, args: &[&str]) -> Value {
        let said = self.says(&[args, &["--json"]].concat()).await;
        assert_eq!(said.code, Some(0), "{args:?}: {said:?}");
        serde_json::from_str(&said.stdout).unwrap()
    }

    /// The words of each line of a table.
    async fn table(&self, args: &[&str]) -> Vec<Vec<String>> {
        let said = self.says(args).await;
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{args:?}");
        said.stdout
            .lines()
            .map(|line| {
                line.split("  ").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
            })
            .collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.home); // it is there only after a login
    }
}

#[tokio::test]
async fn a_login_is_kept_for_its_owner_alone_is_renewed_and_ends_with_the_logout() {
    let service = Service::start().await;
    service.admin().await;
    let terminal = Terminal::at(&service.url, None);
    let list = ["user", "list"];
    let said = terminal.says(&list).await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
    assert!(said.stderr.contains("not logged in") && said.stderr.contains("offers login"), "{said:?}");
    let said = terminal.says_with(&["login", "root"], "a wrong password\n").await;
    assert_eq!((said.code, terminal.logins().exists()), (Some(1), false), "{said:?}");

    let said = terminal.says_with(&["login", "root"], &format!("{PASSWORD}\n")).await;
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{said:?}");
    assert_eq!(fs::metadata(terminal.logins()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(terminal.table(&list).await.concat().contains(&"root@example.com".to_owned()));

    let first = terminal.login();
    let mut old = json!({format!("{}/", service.url): first.clone()});
    old[format!("{}/", service.url)]["expires_at"] = json!(Utc::now() - TimeDelta::seconds(1));
    fs::write(terminal.logins(), old.to_string()).unwrap();
    let at_once = [terminal.says(&list), terminal.says(&list), terminal.says(&list)];
    for said in futures::future::join_all(at_once).await {
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    let renewed = terminal.login();
    assert_ne!(renewed["refresh"], first["refresh"], "renewed before it was used");
    assert_eq!(fs::metadata(terminal.logins()).unwrap().permissions().mode() & 0o777, 0o600);

    assert_eq!(terminal.says(&["logout"]).await.code, Some(0));
    let refresh = service
        .anonymous(Method::POST, "/api/v1/auth/refresh/")
        .json(&json!({"refresh": renewed["refresh"]}));
    assert_eq!(refresh.send().await.unwrap().status(), 401, "the session has ended");
    assert_eq!(terminal.says(&list).await.code, Some(2));
    assert_eq!(terminal.says(&["logout"]).await.code, Some(1));
}

#[tokio::test]
async fn a_login_that_has_ended_elsewhere_says_so() {
    let service = Service::start().await;
    let root = service.admin().await;
    let terminal = Terminal::at(&service.url, None);
    assert_eq!(terminal.says_with(&["login", "root"], &format!("{PASSWORD}\n")).await.code, Some(0));
    let ended = service.request(&root, Method::DELETE, &format!("/admin/users/{}/sessions/", root.id)).send();
    assert_eq!(ended.await.unwrap().status(), 204);
    let mut said = terminal.says(&["user", "list"]).await;
    for _ in 0..100 {
        if said.code != Some(0) {
            break; // an access token is known to have ended within a second
        }
        said = terminal.says(&["user", "list"]).await;
    }
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("has ended: offers login"), "{said:?}");
}

#[tokio::test]
async fn people_partners_and_offers_are_found_by_name_and_changed() {
    let service = Service::start().await;
    let (terminal, _root) = Terminal::of_admin(&service).await;
    let alice = service.rich("alice").await;
    let shop = service.shop("Corner Shop", 0).await;
    service.offer("TV", 1999).await;
    service.offer("Internet", 10_000).await;

    let off = terminal.json(&["user", "disable", "Alice", "--reason", "left"]).await;
    assert_eq!((&off["id"], &off["is_active"]), (&json!(alice.id), &json!(false)));
    assert_eq!(terminal.json(&["user", "show", "alice"]).await["is_active"], false);
    let on = terminal.json(&["user", "enable", &alice.id.to_string()]).await;
    assert_eq!(on["is_active"], true);
    let found = terminal.table(&["user", "list", "--search", "lic"]).await;
    assert_eq!(found.len(), 2, "a heading and a row: {found:?}");
    assert_eq!((&*found[0][1], &*found[1][1]), ("USERNAME", "alice"));

    let off = terminal.json(&["partner", "disable", "corner shop"]).await;
    assert_eq!((&off["id"], &off["is_active"]), (&json!(shop.id), &json!(false)));
    assert_eq!(terminal.json(&["partner", "list"]).await["results"][0]["name"], "Corner Shop");
    assert_eq!(terminal.json(&["partner", "enable", "Corner Shop"]).await["is_active"], true);

    let changed = terminal.json(&["offer", "change", "tv", "--price", "5", "--days", "7"]).await;
    let shown = [&changed["price"], &changed["duration_days"], &changed["name"]];
    assert_eq!(shown, [&json!("5.00"), &json!(7), &json!("TV")]);
    assert_eq!(terminal.says(&["offer", "change", "tv"]).await.code, Some(2), "nothing to change");
    assert_eq!(terminal.json(&["offer", "disable", "TV"]).await["is_active"], false);
    assert_eq!(terminal.json(&["offer", "show", "TV"]).await["is_active"], false);
    let on_sale = terminal.says(&["offer", "list"]).await;
    let lines: Vec<&str> = on_sale.stdout.lines().collect();
    let end_of_price = |line: &str, price: &str| line.find(price).unwrap() + price.len();
    assert_eq!(end_of_price(lines[1], "100.00"), end_of_price(lines[2], "5.00"), "{}", on_sale.stdout);
    assert_eq!(terminal.json(&["offer", "list", "--is-active", "false"]).await["results"][0]["name"], "TV");

    let found = terminal.table(&["search", "Alice"]).await;
    assert_eq!(found[0], ["KIND", "ID", "LABEL"]);
    assert_eq!(found[1][..2], ["user".to_owned(), alice.id.to_string()], "{found:?}");
    assert_eq!(terminal.table(&["search", "nobody at all"]).await.len(), 1, "the heading alone");

    let many = terminal.says(&["offer", "list", "--limit", "1"]).await;
    assert_eq!((many.code, many.stdout.lines().count()), (Some(0), 2));
    assert!(many.stderr.contains("--limit shows more"), "{many:?}");
    let said = terminal.says(&["user", "show", "nobody"]).await;
    assert_eq!((said.code, said.stderr.contains("nobody")), (Some(1), true), "{said:?}");
}

#[tokio::test]
async fn a_problem_is_said_with_its_fields_and_a_service_that_does_not_answer_is_another_matter() {
    let service = Service::start().await;
    let (terminal, _root) = Terminal::of_admin(&service).await;
    service.offer("TV", 1999).await;
    let said = terminal.says(&["offer", "change", "TV", "--days", "0", "--json"]).await;
    assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.stderr.contains("duration_days") && said.stderr.contains("400"), "{said:?}");
    let user = service.person("alice", &["user"]).await;
    let said = Terminal::at(&service.url, Some(&user.token)).says(&["user", "list"]).await;
    assert_eq!((said.code, said.stderr.contains("403")), (Some(1), true), "{said:?}");

    let nowhere = Terminal::at("http://127.0.0.1:9", Some("x"));
    let said = nowhere.says(&["user", "list"]).await;
    assert_eq!((said.code, said.stderr.contains("does not answer")), (Some(2), true), "{said:?}");
    let elsewhere = Terminal::at(&format!("{}/elsewhere", service.url), Some("x"));
    assert_ne!(elsewhere.says(&["user", "list"]).await.code, Some(0));
}

#[tokio::test]
async fn money_moves_once_when_the_answer_is_lost() {
    let service = Service::start().await;
    let (_, root) = Terminal::of_admin(&service).await;
    let alice = service.rich("alice").await.id.to_string();
    let (url, posts) = losing_the_first_answer(&service).await;
    let terminal = Terminal::at(&url, Some(&root.token));
    let paid = ["account", "credit", &alice, "19.5", "--reason", "cash", "--json"];
    let said = terminal.says(&paid).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("the connection was lost; trying again"), "{said:?}");
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&answer["amount"], &answer["balance"]), (&json!("19.50"), &json!("1019.50")));
    assert_eq!(posts.load(Ordering::SeqCst), 2);
    assert_eq!(terminal.json(&["account", "show", "alice"]).await["balance"], "1019.50");

    let debit = ["account", "debit", "alice", "1000", "--reason", "back", "--idempotency-key", "k-1"];
    let once = terminal.json(&debit).await;
    assert_eq!((&once, &once["balance"]), (&terminal.json(&debit).await, &json!("19.50")));
    let said = terminal.says(&["account", "debit", "alice", "1000", "--reason", "again"]).await;
    assert_eq!(
        (said.code, said.stderr.contains("not enough") || said.stderr.contains("nsufficient")),
        (Some(1), true),
        "{said:?}"
    );
    for wrong in [["alice", "0"], ["alice", "1e3"], ["alice", "-5"]] {
        let said = terminal.says(&["account", "credit", wrong[0], wrong[1], "--reason", "x"]).await;
        assert_eq!(said.code, Some(2), "{said:?}");
    }
    service.all_listed().await;
    let table = terminal.table(&["account", "statement", "Alice"]).await;
    let entry = |row: &[String]| [row[2].clone(), row[3].clone(), row[4].clone(), row[6].clone()];
    assert_eq!(entry(&table[0]), ["KIND", "AMOUNT", "BALANCE", "REASON"]);
    assert_eq!(entry(&table[1]), ["debit", "-1000.00", "19.50", "back"], "newest first");
    assert_eq!(entry(&table[2]), ["credit", "19.50", "1019.50", "cash"]);
    let shop = service.shop("Shop", 500).await;
    let of_partner = ["account", "statement", "shop", "--from", "2026-01-01T00:00:00Z"];
    service.all_listed().await;
    assert_eq!(terminal.json(&of_partner).await["results"][0]["balance"], "5.00", "{}", shop.id);
    let last = service.resources.log.event_at(once["position"].as_i64().unwrap()).await.unwrap().unwrap();
    let metadata: Value = serde_json::from_str(&last.metadata).unwrap();
    assert_eq!(
        (&metadata["actor"], &metadata["reason"]),
        (&json!(format!("user:{}", root.id)), &json!("back"))
    );
}

/// A way to the service on which the answer to the first POST is lost, and the number of POSTs that it has seen.
async fn losing_the_first_answer(service: &Service) -> (String, Arc<AtomicUsize>) {
    let far = service.url.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = posts.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(&far).await.unwrap();
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                let read = near.read(&mut buffer).await.unwrap();
                far.write_all(&buffer[..read]).await.unwrap();
                if buffer.starts_with(b"POST") && counted.fetch_add(1, Ordering::SeqCst) == 0 {
                    let answered = far.read(&mut buffer).await.unwrap();
                    assert!(answered > 0, "the service has done it");
                    return;
                }
                let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (url, posts)
}

#[tokio::test]
async fn a_transaction_is_looked_at_and_ended_by_hand() {
    let service = Service::start().await;
    let (terminal, _root) = Terminal::of_admin(&service).await;
    let alice = service.rich("alice").await;
    let tv = service.offer("TV", 1000).await;
    let id = service.post(&alice, "/activation/", &json!({"offer_id": tv})).await.id("transaction_id");
    service.begin(id.into()).await;
    service.all_listed().await;
    let (id, user) = (id.to_string(), alice.id.to_string());

    let table = terminal.table(&["transaction", "list", "--status", "PROCESSING", "--user-id", &user]).await;
    assert_eq!((&*table[1][0], &*table[1][2], &*table[1][4]), (&*id, "PROCESSING", "10.00"));
    assert_eq!(terminal.table(&["transaction", "list", "--in-doubt"]).await.len(), 1, "the heading alone");
    let retried = terminal.json(&["transaction", "retry", &id, "--reason", "they are back"]).await;
    assert_eq!(retried["transaction_id"], *id);
    let said =
        terminal.says(&["transaction", "resolve", &id, "failed", "--reference", "X", "--reason", "x"]).await;
    assert_eq!((said.code, said.stderr.contains("reference")), (Some(1), true), "{said:?}");
    terminal.json(&["transaction", "resolve", &id, "failed", "--reason", "not in their list"]).await;
    let shown = terminal.says(&["transaction", "show", &id]).await;
    assert!(
        shown.stdout.contains("FAILED") && shown.stdout.contains("\nhistory:\nEVENT"),
        "{}",
        shown.stdout
    );
    assert_eq!(service.balance(&alice).await, "1000.00");
    assert_eq!(terminal.says(&["transaction", "show", &Uuid::now_v7().to_string()]).await.code, Some(1));
}

#[tokio::test]
async fn callbacks_are_sent_again_and_lists_of_nothing_have_a_heading() {
    let service = Service::start().await;
    let (terminal, _root) = Terminal::of_admin(&service).await;
    let shop = service.shop_at("Shop", 0, Some("https://shop.example/hook")).await;
    let ping = service.request_by(&shop, Method::POST, "/partner/callbacks/test/").send().await.unwrap();
    assert_eq!(ping.status(), 202);
    let table = terminal.table(&["callback", "list", "--status", "pending"]).await;
    let id = table[1][0].clone();
    assert_eq!(terminal.json(&["callback", "resend", &id]).await["id"], *id);
    assert_eq!(terminal.json(&["callback", "show", &id]).await["type"], "ping");
    for verb in ["mail", "parked"] {
        assert_eq!(terminal.table(&[verb, "list"]).await.len(), 1, "{verb}");
        let order = if verb == "mail" { "resend" } else { "requeue" };
        let said = terminal.says(&[verb, order, &Uuid::now_v7().to_string(), "--reason", "x"]).await;
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{said:?}");
    }
    assert_eq!(terminal.says(&["mail", "list", "--status", "lost"]).await.code, Some(1));
}

#[tokio::test]
async fn an_auditor_follows_the_log_through_the_api() {
    let service = Service::start().await;
    let auditor = service.person("auditor", &["auditor"]).await;
    let alice = service.rich("alice").await;
    let terminal = Terminal::at(&service.url, Some(&auditor.token));
    let mut command = terminal.command(&["events", "tail", "--from", "1", "--type", "Credited", "--json"]);
    let mut following = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next_line().await.unwrap().unwrap();
        let record: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&record["event_type"], &record["aggregate_id"]), (&json!("Credited"), &json!(alice.id)));
        let position = record["position"].as_i64().unwrap();
        assert_eq!(
            line,
            service.resources.log.event_at(position).await.unwrap().unwrap().line(),
            "its record"
        );
        service.pay_in(alice.id.into(), 100).await;
    }
    let said = Terminal::at(&service.url, Some(&alice.token)).says(&["events", "tail", "--from", "1"]).await;
    assert_eq!((said.code, said.stderr.contains("403")), (Some(1), true), "{said:?}");
}

#[tokio::test]
async fn the_help_says_which_verbs_need_a_running_service() {
    let terminal = Terminal::at("http://127.0.0.1:9", None);
    let help = terminal.says(&["--help"]).await.stdout;
    assert!(
        help.contains("Through the API of a running service") && help.contains("On the database"),
        "{help}"
    );
    let help = terminal.says(&["user", "--help"]).await.stdout;
    assert!(help.contains("Create a user, on the database"), "{help}");
    let help = terminal.says(&["user", "list", "--help"]).await.stdout;
    assert!(help.contains("OFFERS_API_TOKEN") && !help.contains("OFFERS_DATABASE_URL"), "{help}");
}
