//! The verbs of the binary.
