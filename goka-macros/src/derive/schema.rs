//! `#[derive(Schema)]`: the shape of the JSON that serde's derives write.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Field, Fields, GenericParam, Path, Type, parse_quote,
};

use super::serde::Serde;
use super::{mistake, own};
use crate::diag::Diag;
use crate::paths;
use crate::syntax::ungroup;

pub(crate) fn schema(item: &DeriveInput, diag: &mut Diag) -> TokenStream {
    let private = paths::private();
    let container = Serde::of(&item.attrs);
    let mut root = None;
    for attribute in own(&item.attrs, "schema") {
        let is_root = attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("an option of fields"));
            }
            root = Some(meta.value()?.call(Path::parse_mod_style)?);
            Ok(())
        });
        if is_root.is_err() {
            let help = "`#[schema(opaque)]` on a field";
            diag.at(attribute, "`#[schema(..)]` goes on fields", help);
        }
    }
    let shape = match &item.data {
        _ if container.into.is_some() => of(container.into.as_ref().expect("it is there")),
        Data::Struct(data) => structure(&data.fields, &container, diag),
        Data::Enum(data) => choice(data, &container, diag),
        Data::Union(data) => {
            let help = "serde writes structs and enums";
            diag.at(data.union_token, "`#[derive(Schema)]` on a union", help);
            TokenStream::new()
        }
    };
    let mut generics = item.generics.clone();
    for parameter in &mut generics.params {
        match parameter {
            GenericParam::Type(parameter) => parameter.bounds.push(parse_quote!(#private::Schema)),
            GenericParam::Lifetime(lifetime) => {
                diag.at(
                    &lifetime.lifetime,
                    "what is stored in a table borrows nothing",
                    "own the fields: `String`, `Vec<T>`",
                );
                return TokenStream::new();
            }
            GenericParam::Const(_) => {}
        }
    }
    let ident = &item.ident;
    let shape = if diag.has_errors() {
        TokenStream::new()
    } else {
        shape
    };
    let (parameters, arguments, bounds) = generics.split_for_impl();
    let items = quote! {
        impl #parameters #private::Schema for #ident #arguments #bounds {
            fn describe(to: &mut #private::Describer) {
                let _ = &to;
                #shape
            }
        }
    };
    paths::block(root.as_ref(), &items)
}

/// `to.of::<T>();`, with its errors at `T`.
fn of(ty: &Type) -> TokenStream {
    let ty = ungroup(ty.clone());
    let span = ty.span();
    quote_spanned!(span=> to.of::<#ty>();)
}

fn structure(fields: &Fields, container: &Serde, diag: &mut Diag) -> TokenStream {
    if container.is_transparent {
        let field = fields
            .iter()
            .find(|field| !Serde::of(&field.attrs).is_skipped);
        return field.map(|field| content(field, diag)).unwrap_or_default();
    }
    body(fields, container.rename_all.as_deref(), diag)
}

/// The shape of the fields of a struct or a variant.
fn body(fields: &Fields, rule: Option<&str>, diag: &mut Diag) -> TokenStream {
    match fields {
        Fields::Unit => quote!(to.word("null");),
        Fields::Unnamed(unnamed) if unnamed.unnamed.len() == 1 => {
            content(&unnamed.unnamed[0], diag)
        }
        Fields::Unnamed(unnamed) => {
            let mut items = TokenStream::new();
            for field in &unnamed.unnamed {
                if !Serde::of(&field.attrs).is_skipped {
                    let content = content(field, diag);
                    items.extend(quote!(parts.item(|to| { #content });));
                }
            }
            quote!(to.tuple(|parts| { #items });)
        }
        Fields::Named(named) => {
            let fields: TokenStream = named
                .named
                .iter()
                .map(|field| named_field(field, rule, diag))
                .collect();
            quote!(to.object(|parts| { let _ = &parts; #fields });)
        }
    }
}

fn named_field(field: &Field, rule: Option<&str>, diag: &mut Diag) -> TokenStream {
    let serde = Serde::of(&field.attrs);
    let Some(ident) = field.ident.as_ref().filter(|_| !serde.is_skipped) else {
        return TokenStream::new();
    };
    let content = content(field, diag);
    if serde.is_flat && !serde.has_function {
        let ty = ungroup(field.ty.clone());
        let span = ty.span();
        return quote_spanned!(span=> parts.flatten::<#ty>(););
    }
    let name = serde.field(ident, rule);
    quote!(parts.add(#name, |to| { #content });)
}

/// The shape of one field.
fn content(field: &Field, diag: &mut Diag) -> TokenStream {
    let is_opaque = is_opaque(&field.attrs, diag);
    if is_opaque || Serde::of(&field.attrs).has_function {
        return quote!(to.word("any"););
    }
    of(&field.ty)
}

fn is_opaque(attributes: &[Attribute], diag: &mut Diag) -> bool {
    let mut is_opaque = false;
    for attribute in own(attributes, "schema") {
        let parsed = attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("opaque") {
                is_opaque = true;
                return Ok(());
            }
            let help = "`#[schema(opaque)]`: the field is not recorded";
            Err(mistake(&meta.path, "unknown option of `schema`", help))
        });
        if let Err(error) = parsed {
            diag.push(error);
        }
    }
    is_opaque
}

fn choice(data: &DataEnum, container: &Serde, diag: &mut Diag) -> TokenStream {
    let private = paths::private();
    let tag = match (&container.tag, &container.content) {
        _ if container.is_untagged => quote!(None),
        (Some(tag), Some(content)) => quote!(Beside(#tag, #content)),
        (Some(tag), None) => quote!(Inside(#tag)),
        _ => quote!(Outside),
    };
    let mut variants = TokenStream::new();
    for variant in &data.variants {
        let serde = Serde::of(&variant.attrs);
        if serde.is_skipped {
            continue;
        }
        let rule = serde
            .rename_all
            .as_deref()
            .or(container.rename_all_fields.as_deref());
        let content = if serde.has_function {
            quote!(to.word("any");)
        } else {
            body(&variant.fields, rule, diag)
        };
        let name = serde.variant(&variant.ident, container.rename_all.as_deref());
        variants.extend(
            match (&variant.fields, container.is_untagged || serde.is_untagged) {
                (_, true) => quote!(parts.item(|to| { #content });),
                (Fields::Unit, false) => quote!(parts.name(#name);),
                (_, false) => quote!(parts.add(#name, |to| { #content });),
            },
        );
    }
    quote!(to.choice(#private::Tag::#tag, |parts| { let _ = &parts; #variants });)
}
