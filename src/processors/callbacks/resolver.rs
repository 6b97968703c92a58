//! Names become addresses here, and only those that may be called are handed on: the connection is made
//! to an address that was judged, so a name that changes its meaning in between gains nothing.

use super::address::is_public;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

/// The target is inside a network, or not an address of the internet at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("target address refused")]
pub(super) struct AddressRefused;

/// The system's resolver, behind which the addresses are judged.
pub(super) struct JudgingResolver {
    pub(super) allow_private: bool,
}

impl Resolve for JudgingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = lookup_host((name.as_str(), 0)).await?; // the port is put in by the caller
            let allowed: Vec<_> = found.filter(|found| allow_private || is_public(found.ip())).collect();
            if allowed.is_empty() {
                return Err(AddressRefused.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}
