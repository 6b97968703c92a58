//! `/admin`: what takes the role `admin`. Unknown members of a body are refused here: an admin who
//! mistypes one wants to know.

pub(super) mod accounts;
pub(super) mod offers;
pub(super) mod users;
