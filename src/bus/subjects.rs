//! Names of events outside this process: `<aggregate>.<event>` in snake case.
//!
//! No ids in a subject: a stream keeps an index entry for each distinct one.

pub(super) use domain::dotted;

/// The NATS subject of an event.
pub(super) fn subject(prefix: &str, aggregate_type: &str, event_type: &str) -> String {
    format!("{prefix}.{}", dotted(aggregate_type, event_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_aggregate_and_the_event_in_snake_case() {
        let of = |aggregate, event| subject("offers.events", aggregate, event);
        assert_eq!(
            of("Transaction", "ActivationRequested"),
            "offers.events.transaction.activation_requested"
        );
        assert_eq!(of("UserOffer", "ExpirySoon"), "offers.events.user_offer.expiry_soon");
        assert_eq!(of("Offer", "Created"), "offers.events.offer.created");
    }
}
