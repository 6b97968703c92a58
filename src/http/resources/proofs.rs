//! Signed checkpoints, and what they prove: for anybody, for auditors, for the owner of a transaction.

use crate::app::partner_activate::Reference;
use crate::http::extract::caller::{Anybody, Auditor, Partner, User};
use crate::http::extract::path;
use crate::http::extract::query::{self, Parameters};
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_transaction;
use crate::http::values::Id;
use crate::http::{Code, Shared};
use crate::tree::{Hash, Receipt};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use domain::TransactionId;

const TEXT: &str = "text/plain; charset=utf-8";

const CHECKPOINT: &str = "offers.example/log\n5\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — offers.example/log Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
const KEY: &str = "offers.example/log+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW\n";
const RECEIPT: &str = "c2sp.org/tlog-proof@v1\nextra eyJwb3NpdGlvbiI6NSwi4oCmfQ==\nindex 4\n\
    gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\n\noffers.example/log\n5\n\
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — offers.example/log Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";
const CONSISTENCY: &str =
    "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=\nEKNzoDWG8LGC0Yp9o+sv3qllpMP9uHQ9B20KNL+Q1zs=\n";

/// The signed checkpoint
///
/// The newest, or that of `size` records: C2SP tlog-checkpoint, signed with Ed25519. Whoever keeps one can prove later
/// that no record before it was changed.
#[utoipa::path(get, path = "/audit/checkpoint",
    params(("size" = i64, Query, description = "The number of records.", minimum = 1,
        maximum = 9_223_372_036_854_775_807_i64)),
    responses((status = 200, description = "A signed note.", content_type = "text/plain; charset=utf-8", body = String, example = json!(CHECKPOINT))),
    extensions(("x-refusals" = json!(refusals(&[Code::CheckpointNotFound])))))]
pub(crate) async fn checkpoint(
    State(app): State<Shared>,
    _anybody: Anybody,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let size = parameters.read(|parameters| parameters.optional("size", query::integer(1..=i64::MAX)))?;
    Ok(text(app.notary.checkpoint(size.map(i64::unsigned_abs)).await?.note))
}

/// The key that verifies checkpoints
///
/// C2SP vkey. Keep it; a checkpoint of another key or origin is none of this log's.
#[utoipa::path(get, path = "/audit/key",
    responses((status = 200, description = "`<origin>+<hash>+<base64>`", content_type = "text/plain; charset=utf-8", body = String, example = json!(KEY))),
    extensions(("x-refusals" = json!(refusals(&[Code::CheckpointNotFound])))))]
pub(crate) async fn key(State(app): State<Shared>, _anybody: Anybody) -> Result<Response, Problem> {
    Ok(text(format!("{}\n", app.notary.verifier_key().await?)))
}

/// The receipt of a record
///
/// Its inclusion proof (C2SP tlog-proof) with a signed checkpoint; `extra` is the record line in base64, so that the
/// receipt is verified alone. The leaf's index is the position minus one.
#[utoipa::path(get, path = "/audit/receipts/{position}", security(("Bearer" = ["auditor"]), ("Bearer" = ["admin"])),
    params(("position" = i64, Path, description = "The position of the record.", minimum = 1,
        maximum = 9_223_372_036_854_775_807_i64)),
    responses((status = 200, description = "A receipt.", content_type = "text/plain; charset=utf-8", body = String, example = json!(RECEIPT))),
    extensions(("x-refusals" = json!(refusals(&[Code::RecordNotFound, Code::CheckpointNotFound])))))]
pub(crate) async fn receipt(
    State(app): State<Shared>,
    _auditor: Auditor,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let position = path.map(|Path(position)| position).unwrap_or_default();
    let position = query::integer(1..=i64::MAX)(&position);
    let position = position.map_err(|message| Problem::invalid_field("position", message))?;
    Ok(text(app.notary.receipt_at(position).await?.to_string()))
}

/// The proof that the log was only continued
///
/// From the tree of `from` records (default 0) to that of `to` (default: the newest checkpoint): the hashes of RFC 6962, in
/// base64, one a line. Empty if one of the sizes is 0 or both are the same.
#[utoipa::path(get, path = "/audit/consistency", security(("Bearer" = ["auditor"]), ("Bearer" = ["admin"])),
    params(
        ("from" = i64, Query, description = "The older size.", minimum = 0, maximum = 9_223_372_036_854_775_807_i64),
        ("to" = i64, Query, description = "The newer size.", minimum = 0, maximum = 9_223_372_036_854_775_807_i64),
    ),
    responses((status = 200, description = "A consistency proof.", content_type = "text/plain; charset=utf-8", body = String, example = json!(CONSISTENCY))),
    extensions(("x-refusals" = json!(refusals(&[Code::CheckpointNotFound])))))]
pub(crate) async fn consistency(
    State(app): State<Shared>,
    _auditor: Auditor,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (from, to) = parameters.read(|parameters| {
        let mut size = |name| parameters.optional(name, query::integer(0..=i64::MAX)).map(i64::unsigned_abs);
        (size("from").unwrap_or_default(), size("to"))
    })?;
    if to.is_some_and(|to| from > to) {
        return Err(Problem::invalid_field("from", "must not be more than `to`"));
    }
    let proof = app.notary.consistency(from, to).await?;
    Ok(text(proof.iter().map(|hash: &Hash| format!("{hash}\n")).collect()))
}

/// The receipts of a transaction
///
/// One for each of its events, in log order, with the same checkpoint. A record of a partner's sale has what is the
/// partner's own business, so only the partner gets its receipts.
#[utoipa::path(get, path = "/account/transactions/{id}/receipt", security(("Bearer" = ["user"])),
    params(("id" = Id, Path, description = "The transaction.")),
    responses((status = 200, description = "Receipts, one after the other.", content_type = "text/plain; charset=utf-8", body = String, example = json!(RECEIPT))),
    extensions(("x-refusals" = json!(refusals(&[Code::TransactionNotFound, Code::CheckpointNotFound])))))]
pub(crate) async fn of_transaction(
    State(app): State<Shared>,
    user: User,
    path::Id(id): path::Id<TransactionId>,
) -> Result<Response, Problem> {
    let found = app.statuses.find(id).await?;
    let own = found.filter(|found| {
        let request = &found.view.request;
        request.user_id == user.id && request.partner_id.is_none()
    });
    let own = own.ok_or_else(no_such_transaction)?;
    Ok(receipts(&app.notary.receipts(&own.events).await?))
}

/// The receipts of a sale
///
/// One for each of the transaction's events, in log order, with the same checkpoint.
#[utoipa::path(get, path = "/partner/receipts/{reference}", security(("ApiKey" = [])),
    params(("reference" = String, Path, description = "Ours: `REF-…`.", min_length = 1, max_length = 200,
        example = "REF-0123456789AB")),
    responses((status = 200, description = "Receipts, one after the other.", content_type = "text/plain; charset=utf-8", body = String, example = json!(RECEIPT))),
    extensions(("x-refusals" = json!(refusals(&[Code::TransactionNotFound, Code::CheckpointNotFound])))))]
pub(crate) async fn of_sale(
    State(app): State<Shared>,
    Partner { id: partner, .. }: Partner,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let reference = path.ok().and_then(|Path(text)| Reference::parse(&text));
    let found = match reference {
        Some(reference) => app.statuses.find_by_reference(&reference).await?,
        None => None,
    };
    let own = found.filter(|found| found.view.request.partner_id == Some(partner));
    let own = own.ok_or_else(no_such_transaction)?;
    Ok(receipts(&app.notary.receipts(&own.events).await?))
}

fn receipts(receipts: &[Receipt]) -> Response {
    text(receipts.iter().map(Receipt::to_string).collect())
}

fn text(body: String) -> Response {
    ([(header::CONTENT_TYPE, TEXT)], body).into_response()
}
