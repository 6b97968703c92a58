//! What happens because of an event.
