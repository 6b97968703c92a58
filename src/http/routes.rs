//! A router that knows its own paths, so that nothing that is asked of every route can forget one.

use super::Shared;
use axum::Router;
use axum::routing::MethodRouter;

/// Routes, and the paths they have.
#[derive(Default)]
pub(super) struct Routes {
    pub(super) router: Router<Shared>,
    pub(super) paths: Vec<&'static str>,
}

impl Routes {
    /// Adds the methods of one path.
    pub(super) fn route(self, path: &'static str, methods: MethodRouter<Shared>) -> Self {
        let mut paths = self.paths;
        paths.push(path);
        Self { router: self.router.route(path, methods), paths }
    }
}
