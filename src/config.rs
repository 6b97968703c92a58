//! Configuration: environment variables `OFFERS_*` and the same as flags.
