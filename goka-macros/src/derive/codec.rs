//! `#[derive(Codec)]`: a struct of one field is encoded as the field is.

use proc_macro2::TokenStream;
use quote::quote;
use syn::parse::{Parse, ParseStream};
use syn::{DeriveInput, Path, Result, Token, Type};

use super::{broken_codec, check_field, delegated, own, parts};
use crate::diag::Diag;
use crate::expand::codec_asked;
use crate::paths;
use crate::syntax::ungroup;

pub(crate) fn codec(item: &DeriveInput, diag: &mut Diag) -> TokenStream {
    let ident = &item.ident;
    let (mut given, mut root) = (None::<Type>, None);
    for attribute in own(&item.attrs, "codec") {
        match attribute.parse_args() {
            Ok(Argument::Root(path)) => root = Some(path),
            Ok(Argument::Codec(_)) if given.is_some() => {
                diag.at(attribute, "`#[codec(..)]` is given twice", "leave one out");
            }
            Ok(Argument::Codec(codec)) => given = Some(ungroup(codec)),
            Err(_) => diag.at(
                attribute,
                "`#[codec(..)]` names the codec of the field",
                "`#[codec(Json<Vec<String>>)]`",
            ),
        }
    }
    let broken = || paths::block(root.as_ref(), &broken_codec(ident));
    let Some(parts) = parts(item, "Codec", diag) else {
        // For a type with parameters no fitting impl can be generated.
        return match item.generics.params.len() {
            0 => broken(),
            _ => TokenStream::new(),
        };
    };
    let [part] = &parts[..] else {
        diag.at(
            ident,
            format!(
                "`#[derive(Codec)]` goes on a struct of one field, this one has {}",
                parts.len()
            ),
            &format!("`Json<{ident}>` where it is declared, or implement `goka::Codec`"),
        );
        return broken();
    };
    if given.is_none() {
        check_field(&part.ty, "codec(", diag);
    }
    if diag.has_errors() {
        return broken();
    }
    let ty = &part.ty;
    let inner = inner(given.as_ref(), ty);
    let codec = delegated(ident, &part.member);
    paths::block(root.as_ref(), &quote!(#inner #codec))
}

/// The argument of `#[codec(..)]`.
enum Argument {
    /// `crate = path`.
    Root(Path),
    Codec(Type),
}

impl Parse for Argument {
    fn parse(input: ParseStream) -> Result<Self> {
        if input.peek(Token![crate]) && input.peek2(Token![=]) {
            input.parse::<Token![crate]>()?;
            input.parse::<Token![=]>()?;
            return input.call(Path::parse_mod_style).map(Self::Root);
        }
        input.parse().map(Self::Codec)
    }
}

/// The constant `INNER`: the only code that requires the field's codec.
pub(super) fn inner(given: Option<&Type>, ty: &Type) -> TokenStream {
    let private = paths::private();
    let ask = codec_asked(given, ty);
    quote!(const INNER: #private::CodecOf<#ty> = #ask;)
}
