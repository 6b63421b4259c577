//! `#[derive(Key)]`: a struct of one field is encoded as the field is, or ordered, or by a codec; a struct of several
//! fields is a key of ordered parts.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Ident, Path, Token, Type};

use super::codec::inner;
use super::{Part, broken_codec, check_field, delegated, is_named, mistake, own, parts};
use crate::diag::Diag;
use crate::paths;
use crate::syntax::ungroup;
use crate::words::KEY;

#[derive(Default)]
struct Options {
    /// `crate = path`.
    root: Option<Path>,
    ordered: Option<Ident>,
    codec: Option<(Ident, Type)>,
}

pub(crate) fn key(item: &DeriveInput, diag: &mut Diag) -> TokenStream {
    let ident = &item.ident;
    let options = options(item, diag);
    let block = |items: &TokenStream| paths::block(options.root.as_ref(), items);
    let private = paths::private();
    let key = quote! {
        impl #private::Key for #ident {
            type Ref<'r> = Self;
            fn view(bytes: &[u8]) -> ::core::result::Result<Self, #private::CodecError> {
                <Self as #private::Codec>::decode(bytes)
            }
        }
    };
    let broken = broken_codec(ident);
    let Some(parts) = parts(item, "Key", diag) else {
        return match item.generics.params.len() {
            0 => block(&quote!(#broken #key)),
            _ => TokenStream::new(),
        };
    };
    check(item, &parts, &options, diag);
    if diag.has_errors() {
        return block(&quote!(#broken #key));
    }
    if let Some((_, codec)) = &options.codec {
        let inner = inner(Some(codec), &parts[0].ty);
        let codec = delegated(ident, &parts[0].member);
        return block(&quote!(#inner #codec #key));
    }
    let consts = parts.iter().enumerate().map(|(at, part)| {
        let (name, ty) = (part_name(at), &part.ty);
        let there = paths::private_at(ty.span());
        // The only code that requires the field's type to be a part of a key.
        let ask = quote_spanned!(ty.span()=> #there::part::<#ty>());
        quote!(const #name: #private::Part<#ty> = #ask;)
    });
    let codec = match (&parts[..], &options.ordered) {
        ([part], None) => {
            let (name, ty) = (part_name(0), &part.ty);
            let delegated = delegated(ident, &part.member);
            quote! {
                const INNER: #private::CodecOf<#ty> = #name.codec;
                #delegated
                #key
            }
        }
        _ => quote!(#private::ordered_codec!([] #ident);),
    };
    let ordered = ordered(ident, &parts);
    let composite = (parts.len() > 1).then(|| {
        let types = parts.iter().map(|part| &part.ty);
        quote! {
            impl #private::Composite for #ident {
                type Parts = (#(#types),*);
            }
        }
    });
    block(&quote!(#(#consts)* #codec #ordered #composite))
}

fn options(item: &DeriveInput, diag: &mut Diag) -> Options {
    let mut read = Options::default();
    for attribute in own(&item.attrs, "key") {
        let parsed = attribute.parse_nested_meta(|meta| {
            let Some(word) = meta.path.get_ident() else {
                let help = KEY.help("");
                return Err(mistake(&meta.path, "unknown option of `key`", &help));
            };
            match word.to_string().as_str() {
                "crate" => {
                    read.root = Some(meta.value()?.call(Path::parse_mod_style)?);
                }
                "ordered" => read.ordered = Some(word.clone()),
                "codec" => {
                    let is_given = meta.input.peek(Token![=]);
                    let value = is_given.then(|| meta.value()?.parse::<Type>());
                    let Some(Ok(codec)) = value else {
                        let help = "`#[key(codec = Be<i64>)]`";
                        return Err(mistake(word, "`codec` takes a type", help));
                    };
                    read.codec = Some((word.clone(), ungroup(codec)));
                }
                other => {
                    let message = format!("unknown option `{other}` of `key`");
                    return Err(mistake(word, &message, &KEY.help(other)));
                }
            }
            Ok(())
        });
        if let Err(error) = parsed {
            diag.push(error);
        }
    }
    read
}

/// ```text
/// #[derive(goka::Key)] struct Unit;
/// #[derive(goka::Key)] struct Named { tenant: String, user: u64 }
/// #[derive(goka::Key)] #[key(ordered, codec = Be<i64>)] struct Both(i64);
/// #[derive(goka::Key)] #[key(codec = Be<i64>)] struct Many(i64, i64);
/// #[derive(goka::Key)] struct Wrapped(Be<i64>);
/// ```
fn check(item: &DeriveInput, parts: &[Part], options: &Options, diag: &mut Diag) {
    if parts.is_empty() {
        diag.at(
            &item.ident,
            "a key has at least one part",
            &format!("`struct {}(String);`", item.ident),
        );
    } else if is_named(item) && parts.len() > 1 {
        let types = parts
            .iter()
            .map(|part| part.ty.to_token_stream().to_string());
        let types = types.collect::<Vec<_>>().join(", ");
        diag.at(
            &item.ident,
            "the parts of a key have an order, not names",
            &format!("`struct {}({types});`", item.ident),
        );
    }
    if let Some((word, _)) = &options.codec {
        if options.ordered.is_some() {
            diag.at(
                word,
                "`codec` and `ordered` are two encodings",
                "leave one out",
            );
        } else if parts.len() > 1 {
            diag.at(
                word,
                format!(
                    "`codec` is for a key of one part, this one has {}",
                    parts.len()
                ),
                "leave it out: several parts are always `ordered`",
            );
        }
    }
    if options.codec.is_none() {
        for part in parts {
            check_field(&part.ty, "key(codec = ", diag);
        }
    }
}

fn part_name(at: usize) -> Ident {
    format_ident!("PART_{at}")
}

fn ordered(ident: &Ident, parts: &[Part]) -> TokenStream {
    let private = paths::private();
    let names: Vec<_> = (0..parts.len()).map(part_name).collect();
    let members: Vec<_> = parts.iter().map(|part| &part.member).collect();
    let describe = names.iter().enumerate().map(|(at, name)| {
        let comma = (at > 0).then(|| quote!(#private::comma(to);));
        quote!(#comma (#name.describe)(to);)
    });
    quote! {
        impl #private::OrderedKey for #ident {
            fn put_ordered(&self, out: &mut ::std::vec::Vec<u8>) {
                #((#names.put)(&self.#members, out);)*
            }
            fn take_ordered(
                bytes: &mut &[u8],
            ) -> ::core::result::Result<Self, #private::CodecError> {
                ::core::result::Result::Ok(Self { #(#members: (#names.take)(bytes)?),* })
            }
            fn show_ordered(&self, parts: &mut ::std::vec::Vec<::std::string::String>) {
                #((#names.show)(&self.#members, parts);)*
            }
            fn parse_ordered(
                parts: &mut dyn ::core::iter::Iterator<Item = &str>,
            ) -> ::core::result::Result<Self, #private::CodecError> {
                ::core::result::Result::Ok(Self { #(#members: (#names.parse)(parts)?),* })
            }
            fn describe_ordered(to: &mut #private::Describer) {
                #(#describe)*
            }
        }
    }
}
