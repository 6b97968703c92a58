//! What partners and users are told of, as the read tables show it: read once for callbacks and mails.

use super::notifications::leads_to_mail;
use crate::event_log::SinkError;
use cqrs_es::Aggregate;
use domain::transaction::Transaction;
use domain::{Recorded, TransactionId};
use projections::{Readers, TransactionView};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// How long a page waits for the read tables before it is read again.
const READ_TABLES_WAIT: Duration = Duration::from_secs(10);

/// Transactions by id.
pub(super) type Ended = HashMap<TransactionId, TransactionView>;

/// The transactions that end in `page`, as soon as the read tables show all that is told of it: whoever hears of an end
/// finds it in the lists.
pub(super) async fn ended(readers: &Readers, page: &[Recorded]) -> Result<Ended, SinkError> {
    let told: Vec<_> = page.iter().filter(|event| leads_to_mail(event)).collect();
    let Some(last) = told.last() else { return Ok(Ended::new()) };
    readers.checkpoint().wait_for(last.position, Instant::now() + READ_TABLES_WAIT).await?;
    let transactions = told.iter().filter(|event| event.aggregate_type == Transaction::TYPE);
    let ids: Vec<_> =
        transactions.filter_map(|event| event.aggregate_uuid().ok()).map(TransactionId).collect();
    let views = readers.transactions_with_ids(&ids).await?;
    Ok(views.into_iter().map(|view| (view.transaction_id, view)).collect())
}
