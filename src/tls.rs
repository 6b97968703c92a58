//! The one TLS provider of the process.

use rustls::crypto::ring;

/// Makes `ring` the provider of the clients that would else look for one and panic; repeats do nothing.
pub(crate) fn use_ring() {
    let _installed_before = ring::default_provider().install_default();
}
