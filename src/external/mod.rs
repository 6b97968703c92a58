//! The client of the activation system.
