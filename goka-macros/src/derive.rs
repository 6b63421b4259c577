//! The derives: `Codec` and `Key` for types that wrap others, `Schema` for values of `Json`.

mod codec;
mod key;
mod schema;
mod serde;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Data, DeriveInput, Error, Field, Fields, Ident, Member, Type};

use crate::diag::{Diag, text};
use crate::paths;
use crate::syntax::{bare, type_text, ungroup};

pub(crate) use codec::codec;
pub(crate) use key::key;
pub(crate) use schema::schema;

/// Runs a derive; returns the generated code and the errors.
pub(crate) fn run(
    item: TokenStream,
    derive: impl FnOnce(&DeriveInput, &mut Diag) -> TokenStream,
) -> TokenStream {
    let mut diag = Diag::default();
    let expansion = match syn::parse2(item) {
        Ok(item) => derive(&item, &mut diag),
        Err(error) => {
            diag.push(error);
            TokenStream::new()
        }
    };
    let errors = diag.finish();
    quote!(#expansion #errors)
}

/// A field: its name or index, and its type.
struct Part {
    member: Member,
    ty: Type,
}

/// The fields of a struct without parameters; `None` for other items, which are reported.
fn parts(item: &DeriveInput, derive: &str, diag: &mut Diag) -> Option<Vec<Part>> {
    let Data::Struct(data) = &item.data else {
        diag.at(
            &item.ident,
            format!("`#[derive({derive})]` goes on a struct around other types"),
            &format!("`struct {}(String);`", item.ident),
        );
        return None;
    };
    if !item.generics.params.is_empty() {
        diag.at(
            &item.generics,
            format!("`#[derive({derive})]` goes on a struct without parameters"),
            "implement the trait by hand",
        );
        return None;
    }
    let members = data.fields.members().zip(&data.fields);
    let part = |(member, field): (Member, &Field)| Part {
        member,
        ty: ungroup(field.ty.clone()),
    };
    Some(members.map(part).collect())
}

/// Whether a struct has named fields.
fn is_named(item: &DeriveInput) -> bool {
    matches!(&item.data, Data::Struct(data) if matches!(data.fields, Fields::Named(_)))
}

/// The attributes of this crate.
fn own<'i>(
    attributes: &'i [Attribute],
    word: &'static str,
) -> impl Iterator<Item = &'i Attribute> + use<'i> {
    attributes
        .iter()
        .filter(move |attribute| attribute.path().is_ident(word))
}

/// ```text
/// #[derive(goka::Codec)] struct Alerts(Json<Vec<Alert>>);
/// ```
fn check_field(ty: &Type, attribute: &str, diag: &mut Diag) {
    let (given, of_values) = (type_text(ty), type_text(&bare(ty)));
    if given != of_values {
        diag.at(
            ty,
            format!("`{given}` stands in declarations, not in fields"),
            &format!("a field of `{of_values}`, and `#[{attribute}{given})]` on the struct"),
        );
    }
}

/// A codec for a type with mistakes, which prevents follow-on errors of rustc.
fn broken_codec(ident: &Ident) -> TokenStream {
    let private = paths::private();
    quote! {
        impl #private::Codec for #ident {
            type Value = Self;
            const NAME: &'static str = "";
            fn encode(
                _: &Self,
                _: &mut ::std::vec::Vec<u8>,
            ) -> ::core::result::Result<(), #private::CodecError> {
                ::core::unreachable!()
            }
            fn decode(_: &[u8]) -> ::core::result::Result<Self, #private::CodecError> {
                ::core::unreachable!()
            }
        }
    }
}

/// The impl of `Codec` that uses the constant `INNER`, the codec of the field.
fn delegated(ident: &Ident, member: &Member) -> TokenStream {
    let private = paths::private();
    quote! {
        impl #private::Codec for #ident {
            type Value = Self;
            const NAME: &'static str = INNER.format().codec;
            fn encode(
                value: &Self,
                out: &mut ::std::vec::Vec<u8>,
            ) -> ::core::result::Result<(), #private::CodecError> {
                INNER.encode(&value.#member, out)
            }
            fn decode(bytes: &[u8]) -> ::core::result::Result<Self, #private::CodecError> {
                let value = INNER.decode(bytes)?;
                ::core::result::Result::Ok(Self { #member: value })
            }
            fn parse(
                text: &str,
            ) -> ::core::result::Result<::std::vec::Vec<u8>, #private::CodecError> {
                (INNER.format().parse)(text)
            }
            fn show(
                bytes: &[u8],
            ) -> ::core::result::Result<::std::string::String, #private::CodecError> {
                (INNER.format().show)(bytes)
            }
            fn describe(to: &mut #private::Describer) {
                INNER.format().describe_to(to);
            }
        }
    }
}

fn mistake(at: impl quote::ToTokens, message: &str, help: &str) -> Error {
    Error::new_spanned(at, text(message, help))
}
