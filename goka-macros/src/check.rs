//! Syntax to [`Model`](crate::model): one function a rule, the rejected code above it. Everything
//! is checked, whatever was found before.

use proc_macro2::Span;
use quote::ToTokens;
use syn::{Expr, ExprLit, Fields, Ident, Lit, Type};

use crate::diag::Diag;
use crate::model::{Processor, Topic, Value};
use crate::paths;
use crate::syntax::{
    Arg, EdgeSyntax, ProcessorSyntax, Target, TopicOptions, TopicSyntax, bare, type_text,
};
use crate::words::EdgeWord;

/// Checks a topic; what was written comes back when anything was reported, here or before.
pub(crate) fn topic(syntax: TopicSyntax, diag: &mut Diag) -> Result<Topic, Box<TopicSyntax>> {
    check_unit(&syntax, diag);
    check_count(&syntax.options, diag);
    check_has_value(&syntax, diag);
    check_one_codec(
        syntax.options.value.as_ref(),
        syntax.options.codec.as_ref(),
        diag,
    );
    check_keyless(&syntax, diag);
    if diag.has_errors() {
        return Err(Box::new(syntax));
    }
    let TopicSyntax {
        options,
        item,
        is_table,
    } = syntax;
    Ok(Topic {
        item,
        name: options.name.expect("its absence was reported"),
        key: match options.keyless {
            Some(word) => Some(paths::no_key(word.span())),
            None => options.key.map(|key| key.value),
        },
        value: Value {
            given: options.value.expect("its absence was reported").value,
            codec: options.codec.map(|codec| codec.value),
        },
        partitioner: options.partitioner.map(|partitioner| partitioner.value),
        partitions: options.partitions.map(|partitions| partitions.value),
        is_table,
    })
}

/// ```text
/// #[stream("clicks", value = String)] pub struct Clicks { .. }
/// ```
fn check_unit(syntax: &TopicSyntax, diag: &mut Diag) {
    let (item, attribute) = (&syntax.item, syntax.attribute());
    let help = format!("`pub struct {};`", item.ident);
    if !matches!(item.fields, Fields::Unit) {
        let message = format!("`#[{attribute}]` goes on a unit struct, this one has fields");
        diag.at(&item.fields, message, &help);
    }
    if !item.generics.params.is_empty() {
        let message = format!("`#[{attribute}]` goes on a struct without parameters");
        diag.at(&item.generics, message, &help);
    }
}

/// ```text
/// #[stream("clicks", value = String, partitions = 0)]
/// ```
fn check_count(options: &TopicOptions, diag: &mut Diag) {
    let Some(partitions) = &options.partitions else {
        return;
    };
    // Other expressions are checked in const.
    if let Expr::Lit(ExprLit { lit, .. }) = &partitions.value {
        let count = match lit {
            Lit::Int(count) => count.base10_parse::<i32>().ok(),
            _ => None,
        };
        if count.is_none_or(|count| count < 1) {
            diag.at(
                lit,
                "`partitions` takes a number from 1",
                "`partitions = 8`",
            );
        }
    }
}

/// ```text
/// #[stream("clicks", key = String)]
/// ```
fn check_has_value(syntax: &TopicSyntax, diag: &mut Diag) {
    let (options, attribute) = (&syntax.options, syntax.attribute());
    // Without a name, or after an option that could not be read, nobody knows what is missing.
    if options.value.is_none() && !diag.has_errors() {
        let name = options.name.to_token_stream();
        diag.span(
            Span::call_site(),
            format!("`#[{attribute}]` needs the type of the values"),
            &format!("`#[{attribute}({name}, value = ..)]`; `value = Vec<u8>` for bytes"),
        );
    }
}

/// ```text
/// #[stream("clicks", value = Json<Click>, codec = ClickCodec)]
/// #[processor(group = "g", codec = ClickCodec)]
/// ```
fn check_one_codec(value: Option<&Arg<Type>>, codec: Option<&Arg<Type>>, diag: &mut Diag) {
    let Some(codec) = codec else {
        return;
    };
    let Some(value) = value else {
        if !diag.has_errors() {
            diag.at(
                &codec.word,
                "`codec` belongs to a table, and there is none",
                "`persist = <type>, codec = ..`",
            );
        }
        return;
    };
    let given = type_text(&value.value);
    let of_values = type_text(&bare(&value.value));
    if given != of_values {
        diag.at(
            &codec.value,
            format!("`{given}` is a codec already"),
            &format!("`{} = {of_values}, codec = ..`, or no `codec`", value.word),
        );
    }
}

/// ```text
/// #[stream("clicks", keyless, key = String, value = String)]
/// #[table("clicks", keyless, value = String)]
/// ```
fn check_keyless(syntax: &TopicSyntax, diag: &mut Diag) {
    let Some(keyless) = &syntax.options.keyless else {
        return;
    };
    if syntax.is_table {
        diag.at(
            keyless,
            "a table has keys",
            "`#[stream(.., keyless, ..)]` for records without keys",
        );
    }
    for (word, what) in [
        (
            syntax.options.key.as_ref().map(|key| &key.word),
            "a key type",
        ),
        (
            syntax.options.partitioner.as_ref().map(|p| &p.word),
            "a partitioner",
        ),
    ] {
        if let Some(word) = word {
            let message = format!("a keyless stream has no need of {what}");
            diag.at(word, message, &format!("leave out `{word}` or `keyless`"));
        }
    }
}

/// Checks a processor; what was written comes back when anything was reported, here or before.
pub(crate) fn processor(
    syntax: ProcessorSyntax,
    diag: &mut Diag,
) -> Result<Processor, Box<ProcessorSyntax>> {
    check_has_input(&syntax, diag);
    check_typed_outputs(&syntax.edges, diag);
    check_repeats(&syntax.edges, diag);
    check_own_topics(&syntax, diag);
    check_one_codec(
        syntax.options.persist.as_ref(),
        syntax.options.codec.as_ref(),
        diag,
    );
    if diag.has_errors() {
        return Err(Box::new(syntax));
    }
    let ProcessorSyntax {
        options,
        ident,
        function,
        edges,
        handler,
    } = syntax;
    Ok(Processor {
        function,
        ident,
        group: options.group.expect("its absence was reported").value,
        persist: options.persist.map(|persist| Value {
            given: persist.value,
            codec: options.codec.map(|codec| codec.value),
        }),
        key: options.key.map(|key| key.value),
        partitioner: options.partitioner.map(|partitioner| partitioner.value),
        edges,
        handler: handler.expect("its shape was reported"),
    })
}

/// ```text
/// #[processor(group = "g")] fn count(ctx: &mut Context, click: String) -> Result<()>
/// ```
fn check_has_input(syntax: &ProcessorSyntax, diag: &mut Diag) {
    let mut edges = syntax.edges.iter();
    if edges.all(|edge| edge.word != EdgeWord::Input) && !diag.has_errors() {
        diag.at(
            &syntax.function.sig.ident,
            "a processor needs an input",
            "`#[input(Topic)]` above the function",
        );
    }
}

/// ```text
/// #[output("alerts")]
/// ```
fn check_typed_outputs(edges: &[EdgeSyntax], diag: &mut Diag) {
    for edge in edges {
        if let (EdgeWord::Output, Target::Named(name)) = (edge.word, &edge.target) {
            let written = name.token();
            diag.at(
                name,
                format!("an output needs a type, found the name {written}"),
                &format!("declare it: `#[stream({written}, value = ..)] pub struct Name;`, and write `#[output(Name)]`"),
            );
        }
    }
}

/// ```text
/// #[input(UserClicks, UserClicks)]
/// ```
fn check_repeats(edges: &[EdgeSyntax], diag: &mut Diag) {
    for (at, edge) in edges.iter().enumerate() {
        let text = edge.target.text();
        let same = |other: &EdgeSyntax| other.word == edge.word && other.target.text() == text;
        if edges[..at].iter().any(same) {
            let name = edge.word.name();
            diag.at(
                edge.target.tokens(),
                format!("`{text}` is an {name} twice"),
                "leave one out",
            );
        }
    }
}

/// ```text
/// #[processor(group = "g", persist = i64)] #[input("g-state")] fn count(..)
/// #[processor(group = "g", persist = i64)] #[input(Count)]     fn count(..)
/// ```
fn check_own_topics(syntax: &ProcessorSyntax, diag: &mut Diag) {
    for edge in &syntax.edges {
        let is_own = match &edge.target {
            Target::Typed(ty) => is_type(ty, &syntax.ident),
            Target::Named(name) => syntax.options.group.as_ref().is_some_and(|group| {
                let (name, group) = (name.value(), group.value.value());
                let own = name.strip_prefix(group.as_str());
                matches!(own, Some("-state" | "-loop"))
            }),
        };
        if is_own {
            let name = edge.word.name();
            diag.at(
                edge.target.tokens(),
                format!("a processor cannot have its own table or loop topic as an {name}"),
                "read and write the table with `ctx.value()` and `ctx.set_value(..)`",
            );
        }
    }
}

/// Whether a type is written as this one name.
pub(crate) fn is_type(ty: &Type, ident: &Ident) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident(ident))
}
