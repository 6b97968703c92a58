//! What the service says when it cannot start.

use crate::support::free_port;
use crate::support::stack::Stack;
use crate::support::tcp::Tunnel;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::postgres::PgConnectOptions;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};

const ABSENT_DATABASE: &str = "postgres://app:s3cret-password@127.0.0.1:9/offers";
const KEY: &str = "0123456789abcdef0123456789abcdef";
const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210";

/// `offers serve` with everything it must be told, changed by `with`.
fn serve(with: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offers"));
    command.arg("serve").env_clear().envs([
        ("OFFERS_LISTEN", "127.0.0.1:0"),
        ("OFFERS_DATABASE_URL", ABSENT_DATABASE),
        ("OFFERS_REDIS_URL", "redis://127.0.0.1:9/0"),
        ("OFFERS_NATS_URL", "nats://127.0.0.1:9"),
        ("OFFERS_EXTERNAL_URL", "http://127.0.0.1:9"),
        ("OFFERS_JWT_KEY", KEY),
        ("OFFERS_WEBHOOK_KEY", OTHER_KEY),
    ]);
    command.envs(with.iter().copied());
    command
}

fn refusal(with: &[(&str, &str)]) -> String {
    let output = serve(with).output().unwrap();
    assert!(!output.status.success(), "it started");
    String::from_utf8(output.stderr).unwrap()
}

/// Reads what `service` says until a line has `words`; that line.
fn said(service: &mut Child, words: &str) -> String {
    let lines = BufReader::new(service.stderr.as_mut().unwrap()).lines();
    lines.map(Result::unwrap).find(|line| line.contains(words)).expect("it ended without a word of it")
}

fn waiting(url: &str) -> Child {
    serve(&[("OFFERS_DATABASE_URL", url)]).stderr(Stdio::piped()).spawn().unwrap()
}

fn terminate(service: &mut Child) -> ExitStatus {
    let pid = Pid::from_child(service);
    kill_process(pid, Signal::TERM).unwrap();
    service.wait().unwrap()
}

#[test]
fn an_absent_postgresql_is_named_without_its_password_and_waited_for_until_a_signal() {
    let mut service = waiting(ABSENT_DATABASE);
    let line = said(&mut service, "does not answer");
    assert!(line.contains("postgres://app@127.0.0.1:9/offers") && line.contains("refused"), "{line}");
    assert!(!line.contains("s3cret-password"), "{line}");
    assert!(terminate(&mut service).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_was_started_before_every_server_is_ready_once_they_are_there() {
    let sandbox = Stack::get().await.sandbox().await;
    let connect: PgConnectOptions = sandbox.database_url.parse().unwrap();
    let port = free_port();
    let url = sandbox.database_url.replace(&connect.get_port().to_string(), &port.to_string());
    let mut service = waiting(&url);
    said(&mut service, "does not answer");
    let _way = Tunnel::at(port, format!("127.0.0.1:{}", connect.get_port())).await;
    said(&mut service, "\"ready\"");
    assert!(terminate(&mut service).success());
}

#[test]
fn a_missing_secret_is_named() {
    let said = refusal(&[("OFFERS_JWT_KEY", "")]);
    assert!(said.contains("OFFERS_JWT_KEY is not set"), "{said}");
}

#[test]
fn a_setting_that_cannot_be_meant_is_refused_by_name() {
    for (name, value, why) in [
        ("OFFERS_TRUSTED_PROXIES", "0.0.0.0/0", "larger than any network of your own"),
        ("OFFERS_TRUSTED_PROXIES", "10.0.0.1,::/0", "larger than any network of your own"),
        ("OFFERS_ACCESS_TOKEN_TTL", "3650d", "at most 1d"),
        ("OFFERS_REFRESH_TOKEN_TTL", "366d", "at most 365d"),
        ("OFFERS_JWT_KEY", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "fewer than 8 different characters"),
        ("OFFERS_WEBHOOK_KEY", KEY, "OFFERS_JWT_KEY has the same key in it"),
        (
            "OFFERS_CHECKPOINT_KEY",
            "log+c74f20a3+AYEKFALVFGyN",
            "a private key is PRIVATE+KEY+<name>+<hash>+<base64>",
        ),
    ] {
        let said = refusal(&[(name, value)]);
        assert!(said.contains(name) && said.contains(why), "{name}: {said}");
        assert!(!said.contains(KEY), "{said}");
    }
}

#[test]
fn a_misspelt_variable_is_refused_with_the_nearest_known_one() {
    let said = refusal(&[("OFFERS_RATE_LIMT_USER", "1/1m")]);
    assert!(said.contains("OFFERS_RATE_LIMT_USER") && said.contains("OFFERS_RATE_LIMIT_USER"), "{said}");
}

#[test]
fn a_demo_secret_is_refused() {
    let said = refusal(&[("OFFERS_WEBHOOK_KEY", "demo-0123456789abcdef0123456789abcdef")]);
    assert!(said.contains("OFFERS_WEBHOOK_KEY is a demo secret"), "{said}");
    assert!(!said.contains("demo-0123456789"), "{said}");
}

#[test]
fn a_url_that_is_none_is_refused_without_being_shown() {
    for (name, url) in [
        ("OFFERS_DATABASE_URL", "s3cret-password"),
        ("OFFERS_REDIS_URL", "s3cret-password"),
        ("OFFERS_NATS_URL", "http://app:s3cret-password@127.0.0.1"),
        ("OFFERS_NATS_ANALYTICS_URL", "nats://admin:s3cret-password@"),
    ] {
        let said = refusal(&[(name, url)]);
        assert!(said.contains(name) && !said.contains("s3cret-password"), "{name}: {said}");
    }
}

#[test]
fn a_sender_that_is_no_mail_address_is_refused_and_so_is_none() {
    let server = ("OFFERS_SMTP_URL", "smtps://offers:s3cret-password@mail.example");
    for (from, why) in
        [("nobody", "OFFERS_MAIL_FROM is not a mail address"), ("", "OFFERS_MAIL_FROM is not set")]
    {
        let said = refusal(&[server, ("OFFERS_MAIL_FROM", from)]);
        assert!(said.contains(why) && !said.contains("s3cret-password"), "{said}");
    }
}

#[test]
fn a_mail_server_that_cannot_be_used_is_refused_without_being_shown() {
    for (url, why) in [
        ("s3cret-password", "it is not a URL"),
        ("https://offers:s3cret-password@mail.example", "it must begin with smtps://, smtp:// or file:///"),
        ("smtp://offers:s3cret-password@mail.example", "a password is only sent encrypted"),
    ] {
        let said = refusal(&[("OFFERS_SMTP_URL", url), ("OFFERS_MAIL_FROM", "offers@example.com")]);
        assert!(said.contains("OFFERS_SMTP_URL cannot be used") && said.contains(why), "{said}");
        assert!(!said.contains("s3cret-password"), "{said}");
    }
}

#[test]
fn an_invalid_schedule_is_refused_by_the_name_of_its_setting() {
    for (schedule, why) in [
        ("0 25 * * *", "is not a cron expression"),
        ("daily", "is not a cron expression"),
        ("0 0 31 2 *", "names a time that never comes"),
    ] {
        let said = refusal(&[("OFFERS_EXPIRY_SCHEDULE", schedule)]);
        assert!(said.contains("--expiry-schedule") && said.contains(why), "{said}");
    }
}

#[test]
fn a_currency_that_is_no_iso_code_is_refused() {
    let said = refusal(&[("OFFERS_CURRENCY", "euro")]);
    assert!(said.contains("--currency") && said.contains("not an ISO 4217 code"), "{said}");
}

#[test]
fn settings_that_cannot_be_meant_are_refused_with_their_name() {
    for (name, value, named) in [
        ("OFFERS_ACCESS_TOKEN_TTL", "0s", "--access-token-ttl"),
        ("OFFERS_REFRESH_TOKEN_TTL", "9999999d", "--refresh-token-ttl"),
        ("OFFERS_EXTERNAL_TIMEOUT", "0ms", "--external-timeout"),
        ("OFFERS_CORS_ORIGINS", "https://shop.example:99999", "--cors-origins"),
        ("OFFERS_NATS_STREAM_BYTES", "0", "--nats-stream-bytes"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://127.0.0.1", "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ] {
        let said = refusal(&[(name, value)]);
        assert!(said.contains(named), "{name}={value}: {said}");
    }
}
