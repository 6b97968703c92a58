//! The only user of NATS.
