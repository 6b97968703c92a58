//! Variables `OFFERS_…` that no setting reads: a limit with a misspelt name is no limit.

use crate::failpoint;
use std::collections::BTreeSet;

const PREFIX: &str = "OFFERS_";
/// What the tests and docker-compose.yml read, and no verb.
const READ_ELSEWHERE: [&str; 6] = [
    "OFFERS_APP_PASSWORD",
    "OFFERS_FUZZ_OWN_ID",
    "OFFERS_OWNER_PASSWORD",
    "OFFERS_TEST_FULL",
    "OFFERS_TEST_STACK",
    "OFFERS_WRITE_DOCS",
];

/// A variable that nothing reads.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no setting is called {name}; did you mean {nearest}?")]
pub struct UnknownVariable {
    name: String,
    nearest: String,
}

/// Refuses the first of the variables `set` that is none of the `settings`, nor read elsewhere.
pub fn refuse_unknown_variables(
    set: impl Iterator<Item = String>,
    settings: &BTreeSet<String>,
) -> Result<(), UnknownVariable> {
    let ours = |name: &String| name.starts_with(PREFIX) && !is_of_kubernetes(name);
    let failpoint = |name: &str| cfg!(debug_assertions) && name == failpoint::VARIABLE;
    let known = |name: &str| settings.contains(name) || READ_ELSEWHERE.contains(&name) || failpoint(name);
    let mut unknown: Vec<String> = set.filter(ours).filter(|name| !known(name)).collect();
    unknown.sort();
    let Some(name) = unknown.into_iter().next() else { return Ok(()) };
    let nearest = settings.iter().min_by_key(|setting| strsim::damerau_levenshtein(setting, &name));
    Err(UnknownVariable { nearest: nearest.cloned().unwrap_or_default(), name })
}

/// Kubernetes tells every container where the service `offers`, or `offers-…`, is.
fn is_of_kubernetes(name: &str) -> bool {
    let of_a_port = |name: &str| name.ends_with("_TCP") || name.ends_with("_UDP") || name.ends_with("_PROTO");
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name
            .split_once("_PORT_")
            .is_some_and(|(_, rest)| of_a_port(rest) || rest.ends_with("_PORT") || rest.ends_with("_ADDR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(set: &[&str]) -> Option<String> {
        let settings = ["OFFERS_LISTEN", "OFFERS_RATE_LIMIT_USER"].map(str::to_owned).into();
        refuse_unknown_variables(set.iter().map(|name| (*name).to_owned()), &settings)
            .err()
            .map(|error| error.to_string())
    }

    #[test]
    fn a_misspelt_variable_is_named_with_the_nearest_setting() {
        let said = refusal(&["PATH", "OFFERS_LISTEN", "OFFERS_RATE_LIMITS_USER"]);
        let expected = "no setting is called OFFERS_RATE_LIMITS_USER; did you mean OFFERS_RATE_LIMIT_USER?";
        assert_eq!(said.as_deref(), Some(expected));
    }

    #[test]
    fn what_others_set_is_none_of_ours() {
        let kubernetes =
            ["OFFERS_SERVICE_HOST", "OFFERS_SERVICE_PORT_HTTP", "OFFERS_PORT", "OFFERS_PORT_80_TCP_ADDR"];
        assert_eq!(refusal(&kubernetes), None);
        assert_eq!(refusal(&["OFFERSHORE", "OFFERS_TEST_FULL", "OFFERS_LISTEN"]), None);
    }
}
