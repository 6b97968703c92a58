//! What an operation answers when it does what it was asked.

use super::headers;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{Content, Response};

/// One status, with the headers and the bodies it may have.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) description: &'static str,
    pub(crate) headers: Vec<&'static str>,
    pub(crate) contents: Vec<(&'static str, Content)>,
}

impl Answer {
    /// As the document has it.
    pub(crate) fn build(&self) -> Response {
        let mut response = ResponseBuilder::new().description(self.description);
        for header in &self.headers {
            response = response.header_ref(*header, headers::reference(header));
        }
        for (media_type, content) in &self.contents {
            response = response.content(*media_type, content.clone());
        }
        response.build()
    }
}
