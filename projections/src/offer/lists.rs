//! What can be bought?

use super::{COLUMNS, OfferView, from_row};
use crate::Error;
use crate::readers::Readers;
use domain::{OfferId, Slice};
use sqlx::QueryBuilder;

/// The key of the catalogue: the name, and which one of that name.
pub type NameKey = (String, OfferId);

impl Readers {
    /// The offer `id`, on sale or not.
    pub async fn offer(&self, id: OfferId) -> Result<Option<OfferView>, Error> {
        let row = sqlx::query(&format!("select {COLUMNS} from read.offers where offer_id = $1"))
            .bind(id.0)
            .fetch_optional(self.pool())
            .await?;
        Ok(row.as_ref().map(from_row).transpose()?)
    }

    /// The offers, by name: all, those on sale, or those off sale; those after the key `after`.
    pub async fn offers(
        &self,
        on_sale: Option<bool>,
        after: Option<NameKey>,
        limit: u32,
    ) -> Result<Slice<OfferView, NameKey>, Error> {
        let mut query = QueryBuilder::new(format!("select {COLUMNS} from read.offers where "));
        query.push(match on_sale {
            Some(true) => "is_active",
            Some(false) => "not is_active",
            None => "true",
        });
        if let Some((name, id)) = after {
            query.push(" and (name, offer_id) > (").push_bind(name).push(", ").push_bind(id.0).push(")");
        }
        query.push(" order by name, offer_id limit ").push_bind(i64::from(limit) + 1);
        let rows = query.build().fetch_all(self.pool()).await?;
        let items = rows.iter().map(from_row).collect::<Result<_, _>>()?;
        Ok(Slice::cut(items, limit, |item: &OfferView| (item.terms.name.clone(), item.offer_id)))
    }
}
