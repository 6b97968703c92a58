//! Users, passwords, sessions, tokens, partner keys.
