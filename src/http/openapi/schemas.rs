//! Schemas by name, and one made of another.

use std::borrow::Cow;
use std::marker::PhantomData;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// A schema and its name.
pub(crate) type Named = (String, RefOr<Schema>);

/// A reference to the schema of `T`.
pub(crate) fn reference<T: ToSchema>() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

/// Adds the schema of `T` and of all it refers to.
pub(crate) fn name<T: ToSchema>(named: &mut Vec<Named>) {
    named.push((T::name().into_owned(), T::schema()));
    T::schemas(named);
}

/// The members of the object `T`, then those of the object `M`.
pub(crate) struct With<T, M>(PhantomData<(T, M)>);

impl<T: PartialSchema, M: PartialSchema> PartialSchema for With<T, M> {
    fn schema() -> RefOr<Schema> {
        let (RefOr::T(Schema::Object(mut all)), RefOr::T(Schema::Object(more))) = (T::schema(), M::schema())
        else {
            return T::schema();
        };
        all.properties.extend(more.properties);
        all.required.extend(more.required);
        all.description = more.description;
        RefOr::T(Schema::Object(all))
    }
}

impl<T: ToSchema, M: ToSchema> ToSchema for With<T, M> {
    fn name() -> Cow<'static, str> {
        format!("{}With{}", T::name(), M::name()).into()
    }

    fn schemas(named: &mut Vec<Named>) {
        T::schemas(named);
        M::schemas(named);
    }
}
