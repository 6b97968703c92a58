//! The one TLS provider of the process.

use rustls::crypto::ring;

/// Builds every HTTP client of ours. `reqwest` has no TLS provider built in and panics without one, so `ring` is
/// made the default of the process first; repeats do nothing.
#[expect(clippy::disallowed_methods, reason = "the one place that builds a client")]
pub fn http_client() -> reqwest::ClientBuilder {
    use_ring();
    reqwest::Client::builder()
}

/// Makes `ring` the provider of clients that a library builds.
pub(crate) fn use_ring() {
    let _installed_before = ring::default_provider().install_default();
}
