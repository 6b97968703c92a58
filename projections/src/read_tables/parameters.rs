//! The parameters of the statement that writes a page. Unlike sqlx's own statement it borrows nothing of what is bound.

use super::connection::Statement;
use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Encode, Postgres, Type};

/// Parameters in their order.
#[derive(Default)]
pub(crate) struct Parameters {
    bound: PgArguments,
    failure: Option<BoxDynError>,
}

impl Parameters {
    pub(crate) fn bind<'t, T: Encode<'t, Postgres> + Type<Postgres> + 't>(mut self, value: T) -> Self {
        if let Err(cause) = self.bound.add(value) {
            self.failure.get_or_insert(cause);
        }
        self
    }

    /// The statement `sql` with these parameters.
    ///
    /// # Errors
    /// `Encode` when one of them is too large.
    pub(super) fn of(self, sql: &'static str) -> Result<Statement<'static>, sqlx::Error> {
        match self.failure {
            Some(cause) => Err(sqlx::Error::Encode(cause)),
            None => Ok(sqlx::query_with(sql, self.bound)),
        }
    }
}
