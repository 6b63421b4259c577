//! `#[simulate(..)]`: a function that returns a workload becomes a test that runs it with many seeds. Tokens →
//! options and function → checked → a `#[test]`, or the function with the errors.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Item, ItemFn, LitInt, Path, Result, ReturnType, Token, Type};

use crate::diag::{Diag, text};
use crate::parse::processor::upper_camel;
use crate::parse::{drain, next, options, root, run, value};
use crate::words::{FAULTS, SIMULATE};
use crate::{first_token, paths};

/// The largest number of instances; each is a set of workers and a disk.
const MOST_INSTANCES: u64 = 16;
const INSTANCES: u64 = 3;
const SEEDS: u64 = 100;

const RETURNS: &str = "`-> goka::simulation::Workload`";

/// The options, as far as they could be read.
#[derive(Default)]
struct Options {
    /// `crate = path`.
    root: Option<Path>,
    instances: Option<LitInt>,
    seeds: Option<LitInt>,
    /// Their variants in the runtime; `None`: all of them.
    faults: Option<Vec<Ident>>,
}

/// Expands `#[simulate(..)]`.
pub(crate) fn expand_simulate(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut diag = Diag::default();
    let options = arguments_of(arguments, &mut diag);
    let item = match syn::parse2(item.clone()) {
        Ok(Item::Fn(function)) => {
            let (instances, seeds) = check_numbers(&options, &mut diag);
            match check_function(&function, &mut diag) {
                Some(returns) if !diag.has_errors() => {
                    expand(&function, returns, instances, seeds, &options)
                }
                _ => fallback(function),
            }
        }
        Ok(_) => {
            let help = "`fn name() -> goka::simulation::Workload`";
            let at = first_token(item.clone());
            diag.at(at, "`#[simulate]` goes on a function", help);
            item
        }
        Err(error) => {
            diag.push(error);
            item
        }
    };
    let errors = diag.finish();
    quote!(#item #errors)
}

fn arguments_of(tokens: TokenStream, diag: &mut Diag) -> Options {
    let mut read = Options::default();
    run(tokens, diag, |input, diag| {
        options(input, &SIMULATE, diag, |word, input, diag| {
            match word.to_string().as_str() {
                "instances" => {
                    let given = value(word, input, "a number", "`instances = 3`")?;
                    read.instances = Some(given.value);
                }
                "seeds" => {
                    let given = value(word, input, "a number", "`seeds = 100`")?;
                    read.seeds = Some(given.value);
                }
                "crate" => read.root = Some(root(&word, input)?),
                _ => read.faults = Some(faults(&word, input, diag)?),
            }
            Ok(())
        });
        Ok(())
    });
    read
}

/// Reads `(crash, outage)`: their variants.
fn faults(word: &Ident, input: ParseStream, diag: &mut Diag) -> Result<Vec<Ident>> {
    let content;
    syn::parenthesized!(content in input);
    if content.is_empty() {
        let help = "leave it out for all of them";
        return Err(Error::new(word.span(), text("`faults` names none", help)));
    }
    let mut found = Vec::new();
    while !content.is_empty() {
        match fault(&content, &found) {
            Ok(fault) => found.push(fault),
            Err(error) => diag.push(error),
        }
        if !content.is_empty() && content.parse::<Token![,]>().is_err() {
            diag.push(content.error("expected `,`"));
            drain(&content);
        }
    }
    Ok(found)
}

fn fault(content: ParseStream, found: &[Ident]) -> Result<Ident> {
    let known = format!("known faults: `{}`", FAULTS.join("`, `"));
    let Ok(word) = content.call(Ident::parse_any) else {
        let error = content.error(text("expected the name of a fault", &known));
        next(content);
        return Err(error);
    };
    let mut variant = upper_camel(&word);
    variant.set_span(Span::call_site());
    let (message, help) = match () {
        () if !FAULTS.iter().any(|name| word == name) => {
            (format!("unknown fault `{word}`"), &*known)
        }
        () if found.contains(&variant) => {
            (format!("fault `{word}` is named twice"), "leave one out")
        }
        () => return Ok(variant),
    };
    Err(Error::new(word.span(), text(&message, help)))
}

/// ```text
/// #[simulate(instances = 0)]
/// #[simulate(seeds = 0)]
/// ```
fn check_numbers(options: &Options, diag: &mut Diag) -> (u64, u64) {
    let mut check = |word: &str, given: Option<&LitInt>, otherwise: u64, most: u64| {
        let Some(given) = given else {
            return otherwise;
        };
        let help = match most {
            u64::MAX => format!("`{word}` is 1 or more"),
            most => format!("`{word}` is 1 to {most}"),
        };
        match given.base10_parse::<u64>() {
            Ok(number) if (1..=most).contains(&number) => number,
            _ => {
                diag.at(given, format!("`{word}` cannot be {given}"), &help);
                otherwise
            }
        }
    };
    let instances = options.instances.as_ref();
    (
        check("instances", instances, INSTANCES, MOST_INSTANCES),
        check("seeds", options.seeds.as_ref(), SEEDS, u64::MAX),
    )
}

/// Checks the function, and gives the type that it returns.
/// ```text
/// #[simulate] #[test] fn counts() -> Workload { .. }
/// #[simulate] async fn counts() -> Workload { .. }
/// #[simulate] fn counts<T>() -> Workload { .. }
/// #[simulate] fn counts(n: u32) -> Workload { .. }
/// #[simulate] fn counts() { .. }
/// ```
fn check_function<'f>(function: &'f ItemFn, diag: &mut Diag) -> Option<&'f Type> {
    for attribute in function.attrs.iter().filter(|found| is(found, "test")) {
        diag.at(
            attribute.path(),
            "`#[simulate]` makes the test by itself",
            "leave `#[test]` out",
        );
    }
    let signature = &function.sig;
    if let Some(found) = &signature.asyncness {
        diag.at(
            found,
            "a function that gives a workload is not `async`",
            "leave `async` out; the handlers of its processors may be",
        );
    }
    if !signature.generics.params.is_empty() {
        diag.at(
            &signature.generics,
            "a function that gives a workload has no generics",
            "name the processors' types in its body",
        );
    }
    if !signature.inputs.is_empty() {
        diag.at(
            &signature.inputs,
            "a function that gives a workload has no parameters",
            "what differs by seed is made from the `Dice` of an input",
        );
    }
    match &signature.output {
        ReturnType::Type(_, returns) => Some(returns),
        ReturnType::Default => {
            let ident = &signature.ident;
            diag.at(ident, format!("`{ident}` gives no workload"), RETURNS);
            None
        }
    }
}

/// Whether the last segment of an attribute's path is this name.
fn is(attribute: &Attribute, name: &str) -> bool {
    let last = attribute.path().segments.last();
    last.is_some_and(|last| last.ident == name)
}

/// A test of the same name, with the function within it, so that its paths keep their meaning.
fn expand(
    function: &ItemFn,
    returns: &Type,
    instances: u64,
    seeds: u64,
    options: &Options,
) -> TokenStream {
    let module = paths::module(options.root.as_ref());
    let mut inner = function.clone();
    let attributes = std::mem::take(&mut inner.attrs);
    let (visibility, ident) = (
        std::mem::replace(&mut inner.vis, syn::Visibility::Inherited),
        &function.sig.ident,
    );
    let name = ident.unraw().to_string();
    let instances = usize::try_from(instances).unwrap_or(usize::MAX);
    let faults = match &options.faults {
        None => quote!(&#module::FaultKind::ALL),
        Some(faults) => quote!(&[#(#module::FaultKind::#faults),*]),
    };
    // An error about the return type is at the place of that type.
    let call = quote_spanned!(returns.span()=> #ident());
    quote! {
        #(#attributes)*
        #[::core::prelude::v1::test]
        #visibility fn #ident() {
            #inner
            #module::simulate(
                ::core::concat!(::core::module_path!(), "::", #name),
                #instances,
                #seeds,
                #faults,
                || #call,
            );
        }
    }
}

/// The function alone, marked as unused.
fn fallback(mut function: ItemFn) -> TokenStream {
    let of_a_test = ["test", "ignore", "should_panic"];
    function
        .attrs
        .retain(|attribute| !of_a_test.iter().any(|name| is(attribute, name)));
    let function = function.to_token_stream();
    quote!(#[allow(dead_code)] #function)
}
