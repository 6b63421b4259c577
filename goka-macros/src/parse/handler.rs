//! The signature of a handler, and the `Context` that is completed in it.

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    FnArg, GenericArgument, GenericParam, Ident, Lifetime, PatType, Path, PathArguments,
    ReceiverKind, ReturnType, Safety, Signature, Type, TypePath, TypeReference, parse_quote,
};

use crate::diag::Diag;
use crate::paths;
use crate::syntax::{HandlerSyntax, type_text, ungroup};

const FUNCTION: &str = "`fn name(ctx: &mut Context, value: T) -> Result<()>`";
const METHOD: &str = "`fn name(&self, ctx: &mut Context, value: T) -> Result<()>`";

/// Adds the processor to every `Context` of the signature that has none; and, if the handler's records may have no
/// keys, the type by which the processor says whether they have.
pub(crate) fn fill(signature: &mut Signature, processor: &Type, keying: Option<&TokenStream>) {
    for input in &mut signature.inputs {
        if let FnArg::Typed(PatType { ty, .. }) = input {
            fill_type(ty, processor, keying);
        }
    }
}

/// The type by which a processor says whether the records of a handler have keys.
pub(crate) fn keying(at: usize, root: Option<&Path>) -> TokenStream {
    let (module, at) = (paths::module(root), Literal::usize_unsuffixed(at));
    quote!(<Self as #module::Handler<#at>>::Keying)
}

fn fill_type(ty: &mut Type, processor: &Type, keying: Option<&TokenStream>) {
    match ty {
        Type::Group(group) => fill_type(&mut group.elem, processor, keying),
        Type::Reference(reference) => fill_type(&mut reference.elem, processor, keying),
        Type::Path(path) => {
            if !is_named(path, "Context") {
                return;
            }
            let Some(last) = path.path.segments.last_mut() else {
                return;
            };
            match &mut last.arguments {
                none @ PathArguments::None => {
                    let keying = keying.iter();
                    let filled = parse_quote!(<'_, #processor #(, #keying)*>);
                    *none = PathArguments::AngleBracketed(filled);
                }
                PathArguments::AngleBracketed(given) => {
                    if !has_lifetime(&given.args) {
                        given.args.insert(0, parse_quote!('_));
                    }
                    // Only the lifetime was written: `Context<'_>`.
                    if given.args.len() == 1 {
                        given.args.push(parse_quote!(#processor));
                    }
                    if let (2, Some(keying)) = (given.args.len(), keying) {
                        given.args.push(parse_quote!(#keying));
                    }
                }
                PathArguments::Parenthesized(_) => {}
            }
        }
        _ => {}
    }
}

fn has_lifetime<P>(arguments: &Punctuated<GenericArgument, P>) -> bool {
    let mut arguments = arguments.iter();
    arguments.any(|argument| matches!(argument, GenericArgument::Lifetime(_)))
}

/// Reads a handler; `None` if its signature is wrong.
pub(crate) fn read(
    signature: &mut Signature,
    processor: &Ident,
    is_method: bool,
    diag: &mut Diag,
) -> Option<HandlerSyntax> {
    let handler = check(signature, processor, is_method, diag);
    if handler.is_none() {
        lend(signature);
    }
    handler
}

/// Makes an unsized parameter, which has been reported, a reference: rustc would report it again, at every use.
fn lend(signature: &mut Signature) {
    for input in &mut signature.inputs {
        if let FnArg::Typed(PatType { ty, .. }) = input
            && is_unsized(ty)
        {
            let lent = &*ty;
            **ty = parse_quote!(&#lent);
        }
    }
}

fn check(
    signature: &mut Signature,
    processor: &Ident,
    is_method: bool,
    diag: &mut Diag,
) -> Option<HandlerSyntax> {
    check_contexts(signature, processor, diag);
    let signature = &*signature;
    let shape = if is_method { METHOD } else { FUNCTION };
    let (value, is_right) = diag.part(|diag| {
        // With a wrong `self` the parameters could be checked, but are often wrong for the same cause.
        let ((), is_right) = diag.part(|diag| check_receiver(signature, is_method, diag));
        let value = is_right.then(|| check_parameters(signature, shape, diag));
        check_plain(signature, shape, diag);
        check_returns(signature, shape, diag);
        let value = ungroup(elide(value.flatten()?.clone()));
        check_value(&value, shape, diag);
        Some(value)
    });
    let (value, by_ref) = strip_reference(value.filter(|_| is_right)?);
    Some(HandlerSyntax {
        name: signature.ident.clone(),
        value,
        by_ref,
        keying: None,
        returns: match &signature.output {
            ReturnType::Default => signature.ident.span(),
            ReturnType::Type(_, ty) => ty.span(),
        },
        is_async: signature.asyncness.is_some(),
        is_method,
        takes_self: signature.receiver().is_some(),
    })
}

fn type_of(argument: &GenericArgument) -> Option<&Type> {
    match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
}

/// ```text
/// fn count(ctx: &mut Context<Other>, click: String)
/// ```
/// Its parameters are removed, so that the rest can be checked.
fn check_contexts(signature: &mut Signature, processor: &Ident, diag: &mut Diag) {
    for input in &mut signature.inputs {
        if let FnArg::Typed(PatType { ty, .. }) = input
            && let Type::Reference(reference) = &mut **ty
            && let Type::Path(path) = &mut *reference.elem
            && is_named(path, "Context")
            && let Some(last) = path.path.segments.last_mut()
            && let PathArguments::AngleBracketed(given) = &last.arguments
            && let Some(Type::Path(other)) = given.args.iter().find_map(type_of)
            && let Some(name) = other.path.segments.last()
            && name.ident != "Self"
            && name.ident != *processor
        {
            let found = type_text(other);
            diag.at(
                other,
                format!("a handler takes its own processor's context, found that of `{found}`"),
                "write it bare: `&mut Context`",
            );
            last.arguments = PathArguments::None;
        }
    }
}

/// ```text
/// fn count(self, ctx: &mut Context, click: String)      fn on(&mut self, ctx: &mut Context, ..)
/// ```
fn check_receiver(signature: &Signature, is_method: bool, diag: &mut Diag) {
    let Some(receiver) = signature.receiver() else {
        return;
    };
    if !is_method {
        diag.at(receiver, "a handler function has no `self`", FUNCTION);
    } else if !matches!(receiver.kind, ReceiverKind::Reference(_, _, None)) {
        diag.at(
            receiver,
            format!("a handler takes `&self`, found `{}`", type_text(receiver)),
            "what changes belongs in the group table, or behind a `Mutex`",
        );
    }
}

/// ```text
/// fn count<T>(..)      unsafe fn count(..)
/// ```
fn check_plain(signature: &Signature, shape: &str, diag: &mut Diag) {
    let mut parameters = signature.generics.params.iter();
    if let Some(parameter) = parameters.find(|p| !matches!(p, GenericParam::Lifetime(_))) {
        diag.at(parameter, "a handler has no type parameters", shape);
    }
    if let Safety::Unsafe(token) = &signature.safety {
        diag.at(token, "a handler is a safe function", shape);
    }
}

/// ```text
/// fn count(ctx: &mut Context, click: String)
/// ```
fn check_returns(signature: &Signature, shape: &str, diag: &mut Diag) {
    if let ReturnType::Default = signature.output {
        diag.at(
            &signature.ident,
            "a handler returns `Result<()>`, this one returns nothing",
            shape,
        );
    }
}

/// ```text
/// fn count(click: String, ctx: &mut Context)      fn count(ctx: Context, click: String)
/// fn count(ctx: &mut Context)                     fn count(ctx: &mut Context, a: A, b: B)
/// ```
fn check_parameters<'s>(
    signature: &'s Signature,
    shape: &str,
    diag: &mut Diag,
) -> Option<&'s Type> {
    let mut inputs = signature.inputs.iter();
    if signature.receiver().is_some() {
        inputs.next();
    }
    let Some(first) = inputs.next() else {
        diag.at(
            &signature.ident,
            "a handler takes a context and a value",
            shape,
        );
        return None;
    };
    match first {
        // rustc refuses a second one.
        FnArg::Receiver(_) => return None,
        FnArg::Typed(context) if !is_context(&context.ty) => {
            let found = type_text(&context.ty);
            let message =
                format!("the first parameter of a handler is `&mut Context`, found `{found}`");
            diag.at(&context.ty, message, shape);
            return None;
        }
        FnArg::Typed(_) => {}
    }
    let Some(FnArg::Typed(value)) = inputs.next() else {
        diag.at(&signature.ident, "this handler takes no value", shape);
        return None;
    };
    if let Some(third) = inputs.next() {
        diag.at(
            third,
            "a handler takes one value, this is a third parameter",
            shape,
        );
        return None;
    }
    Some(&value.ty)
}

/// Leaves out the named lifetimes of a value: the code that calls the handler has no names for them. rustc reports one
/// that is not declared.
fn elide(mut value: Type) -> Type {
    struct Elide;

    impl VisitMut for Elide {
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            let lifetime = reference.lifetime.take();
            reference.lifetime = lifetime.filter(|lifetime| lifetime.ident == "static");
            visit_mut::visit_type_reference_mut(self, reference);
        }

        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                lifetime.ident = Ident::new("_", lifetime.ident.span());
            }
        }
    }

    Elide.visit_type_mut(&mut value);
    value
}

/// Whether a type is `name` or `goka::name`.
fn is_named(path: &TypePath, name: &str) -> bool {
    let segments = &path.path.segments;
    let ours = segments.len() == 1 || segments.first().is_some_and(|first| first.ident == "goka");
    ours && segments.last().is_some_and(|last| last.ident == name)
}

fn is_context(ty: &Type) -> bool {
    match ty {
        Type::Group(group) => is_context(&group.elem),
        Type::Reference(reference) => {
            let elem = ungroup((*reference.elem).clone());
            // Under another name it would not be completed.
            reference.mutability.is_some()
                && matches!(elem, Type::Path(path) if is_named(&path, "Context"))
        }
        _ => false,
    }
}

/// ```text
/// fn count(ctx: &mut Context, click: &mut String)
/// fn count(ctx: &mut Context, click: impl Click)
/// fn count(ctx: &mut Context, click: str)
/// ```
fn check_value(value: &Type, shape: &str, diag: &mut Diag) {
    let found = type_text(value);
    match value {
        Type::Reference(reference) if reference.mutability.is_some() => diag.at(
            value,
            format!("a handler cannot change its value in place, found `{found}`"),
            "take the value itself, `mut value: T`",
        ),
        Type::ImplTrait(_) => {
            diag.at(
                value,
                "a handler's value has one type, found `impl ..`",
                shape,
            );
        }
        _ if is_unsized(value) => diag.at(
            value,
            format!("a handler's value has a size, `{found}` has none"),
            &format!("`&{found}`"),
        ),
        _ => {}
    }
}

/// `[u8]` and `str`, by their names.
fn is_unsized(value: &Type) -> bool {
    match value {
        Type::Slice(_) => true,
        Type::Path(path) => path.path.is_ident("str"),
        _ => false,
    }
}

/// `&V` is a `V` by reference; `&str` and `&[u8]` are parameters of their own.
fn strip_reference(value: Type) -> (Type, bool) {
    let Type::Reference(reference) = &value else {
        return (value, false);
    };
    let elem = ungroup((*reference.elem).clone());
    if is_unsized(&elem) {
        (value, false)
    } else {
        (elem, true)
    }
}
