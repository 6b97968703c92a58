//! Private PostgreSQL, Redis and NATS as child processes.
