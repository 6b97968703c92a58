//! The only writer and reader of the event table.
