//! What people ask.
