//! The one TLS provider of the process.

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::ConfigVerifierExt;

/// Builds every HTTP client of ours. `reqwest` has no TLS provider built in and panics without one, so `ring` is
/// made the default of the process first; repeats do nothing.
#[expect(clippy::disallowed_methods, reason = "the one place that builds a client")]
pub fn http_client() -> reqwest::ClientBuilder {
    use_ring();
    reqwest::Client::builder()
}

/// For a client that is not `reqwest`'s: it trusts the system's roots, as those do.
pub(crate) fn client_config() -> Result<ClientConfig, rustls::Error> {
    use_ring();
    ClientConfig::with_platform_verifier()
}

/// For a client that calls `http://` only: it trusts nobody.
pub(crate) fn config_without_roots() -> ClientConfig {
    use_ring();
    ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
}

/// Makes `ring` the provider of clients that a library builds.
pub(crate) fn use_ring() {
    let _installed_before = ring::default_provider().install_default();
}
