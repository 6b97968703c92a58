//! Who may call an operation, and how others are refused.

use crate::http::Code;
use utoipa::openapi::security::SecurityRequirement;

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Anybody, with or without credentials.
    Anybody,
    /// A person or a partner.
    UserOrPartner,
    /// A partner alone.
    Partner,
    /// Somebody with the role `admin`.
    Admin,
    /// Somebody with the role `auditor` or `admin`.
    Auditor,
}

impl Caller {
    /// Any one of these lets a caller in; none means that nobody has to say who they are.
    pub(crate) fn requirements(self) -> Vec<SecurityRequirement> {
        let bearer = |roles: &[&'static str]| SecurityRequirement::new("Bearer", roles.iter().copied());
        let key = || SecurityRequirement::new("ApiKey", [] as [&str; 0]);
        match self {
            Self::Anybody => vec![],
            Self::UserOrPartner => vec![bearer(&[]), key()],
            Self::Partner => vec![key()],
            Self::Admin => vec![bearer(&["admin"])],
            Self::Auditor => vec![bearer(&["auditor"]), bearer(&["admin"])],
        }
    }

    /// The codes by which others are refused.
    pub(crate) fn refusals(self) -> &'static [Code] {
        const KNOWN: [Code; 4] =
            [Code::NotAuthenticated, Code::TokenInvalid, Code::TokenExpired, Code::Forbidden];
        match self {
            Self::Anybody => &[],
            Self::UserOrPartner => &KNOWN[..3],
            _ => &KNOWN,
        }
    }
}
