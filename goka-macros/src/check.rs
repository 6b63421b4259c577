//! Syntax to [`Model`](crate::model): one function for each rule, with the rejected code above it. All rules are
//! checked, whatever was found before. A model is made in any case: what is wrong with it was reported, and its
//! expansion prevents follow-on errors of rustc.

use proc_macro2::Span;
use quote::{ToTokens, quote};
use syn::{Expr, ExprLit, Fields, Generics, Lit, LitStr, Type, parse_quote};

use crate::diag::Diag;
use crate::model::{Edge, Input, Own, Processor, Topic, Value};
use crate::parse::check_length;
use crate::paths;
use crate::syntax::{
    Arg, EdgeSyntax, Form, ProcessorOptions, ProcessorSyntax, Target, TopicOptions, TopicSyntax,
    bare, only_argument, type_text,
};
use crate::words::{EdgeWord, LOOP, STATE, VISIT_TOPIC};

/// Checks a topic.
pub(crate) fn topic(syntax: TopicSyntax, diag: &mut Diag) -> Topic {
    check_unit(&syntax, diag);
    check_count(&syntax.options, diag);
    check_has_value(&syntax, diag);
    let options = &syntax.options;
    check_codec(options.value.as_ref(), options.codec.as_ref(), diag);
    check_keyless(&syntax, diag);
    let TopicSyntax {
        options,
        item,
        is_table,
    } = syntax;
    let keyless = options.keyless.filter(|_| !is_table);
    let partitions = options.partitions.filter(|_| !diag.has_errors());
    Topic {
        root: options.root,
        item,
        name: options.name.unwrap_or_else(nameless),
        key: match options.key {
            Some(key) => Some(key.value),
            None => keyless.map(|word| paths::no_key(word.span())),
        },
        value: value(options.value, options.codec).unwrap_or_else(|| Value {
            given: parse_quote!(::std::vec::Vec<u8>),
            codec: None,
        }),
        partitioner: options.partitioner.map(|partitioner| partitioner.value),
        partitions: partitions.map(|partitions| partitions.value),
        is_table,
    }
}

fn nameless() -> LitStr {
    LitStr::new("", Span::call_site())
}

/// The values as they were given; not with two codecs.
fn value(given: Option<Arg<Type>>, codec: Option<Arg<Type>>) -> Option<Value> {
    let given = given?.value;
    let is_bare = type_text(&bare(&given)) == type_text(&given);
    let codec = codec.filter(|_| is_bare).map(|codec| codec.value);
    Some(Value { given, codec })
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
    if options.value.is_none() && options.complete {
        let name = options.name.to_token_stream();
        diag.span(
            Span::call_site(),
            format!("`#[{attribute}]` needs the type of the values"),
            &format!("`#[{attribute}({name}, value = ..)]`; `value = Vec<u8>` for bytes"),
        );
    }
}

/// ```text
/// #[processor(group = "g", codec = ClickCodec)]
/// ```
fn check_codec_of_table(options: &ProcessorOptions, diag: &mut Diag) {
    if let (None, Some(codec), true) = (&options.persist, &options.codec, options.complete) {
        diag.at(
            &codec.word,
            "`codec` belongs to a table, and there is none",
            "`persist = <type>, codec = ..`",
        );
    }
    check_codec(options.persist.as_ref(), options.codec.as_ref(), diag);
}

/// ```text
/// #[stream("clicks", value = Json<Click>, codec = ClickCodec)]
/// ```
fn check_codec(value: Option<&Arg<Type>>, codec: Option<&Arg<Type>>, diag: &mut Diag) {
    let (Some(value), Some(codec)) = (value, codec) else {
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
    let key = syntax.options.key.as_ref().map(|key| &key.word);
    let partitioner = syntax.options.partitioner.as_ref().map(|p| &p.word);
    for (word, what) in [(key, "a key type"), (partitioner, "a partitioner")] {
        if let Some(word) = word {
            let message = format!("a keyless stream has no need of {what}");
            diag.at(word, message, &format!("leave out `{word}` or `keyless`"));
        }
    }
}

/// Checks a processor.
pub(crate) fn processor(syntax: ProcessorSyntax, diag: &mut Diag) -> Processor {
    check_has_input(&syntax, diag);
    check_lifetimes(&syntax, diag);
    check_typed(&syntax.edges, diag);
    check_repeats(&syntax.edges, diag);
    check_one_loopback(&syntax.edges, diag);
    check_visits(&syntax, diag);
    check_values(&syntax.edges, diag);
    check_suffix(&syntax.options, diag);
    check_own_names(&syntax, diag);
    check_own_topics(&syntax, diag);
    check_codec_of_table(&syntax.options, diag);
    let is_sound = !diag.has_errors();
    let ProcessorSyntax {
        options,
        this,
        ident,
        form,
        edges,
        keyings,
        may_rekey,
        edges_complete: _,
    } = syntax;
    let suffix = suffix(&options);
    Processor {
        root: options.root,
        form,
        group: options.group.map_or_else(nameless, |group| group.value),
        persist: value(options.persist, options.codec),
        key: options.key.map(|key| key.value),
        partitioner: options.partitioner.map(|partitioner| partitioner.value),
        suffix,
        guarantee: options.guarantee,
        edges: self::edges(edges, &this, is_sound),
        this,
        ident,
        keyings,
        may_rekey,
        is_sound,
    }
}

/// The edges, without the wrong ones, and each once.
fn edges(edges: Vec<EdgeSyntax>, this: &Type, is_sound: bool) -> Vec<Edge> {
    // Not everything that syn reads as a type is one in every place: `A +`.
    let is_type = |ty: &Type| is_sound || syn::parse2::<Type>(quote!(<#ty as X>::Y)).is_ok();
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for edge in edges {
        let is_input = edge.word == EdgeWord::Input;
        let text = edge.target.as_ref().map(Target::text);
        let is_wrong = match &edge.target {
            // With its own table as an input the key type would depend on itself.
            Some(Target::Typed(ty)) => is_input && is_this(ty, this) || !is_type(ty),
            _ => false,
        };
        let is_visit = edge.word == EdgeWord::Visit;
        if is_wrong || !is_visit && seen.contains(&(edge.word, text.clone())) {
            continue;
        }
        seen.push((edge.word, text));
        found.extend(self::edge(edge));
    }
    found
}

fn edge(edge: EdgeSyntax) -> Option<Edge> {
    let EdgeSyntax { word, at, .. } = edge;
    let topic = |target| match target {
        Some(Target::Typed(ty)) => Some(*ty),
        _ => None,
    };
    let own = |handler| Own { at, handler };
    Some(match (word, edge.handler) {
        (EdgeWord::Input, Some(handler)) => Edge::Input(Input {
            target: edge.target?,
            start: edge.start,
            handler,
        }),
        (EdgeWord::Input, None) => Edge::UnhandledInput(topic(edge.target)?),
        (EdgeWord::Output, _) => Edge::Output(topic(edge.target)?),
        (EdgeWord::Join, _) => Edge::Join(topic(edge.target)?),
        (EdgeWord::Lookup, _) => Edge::Lookup(topic(edge.target)?),
        (EdgeWord::Loopback, Some(handler)) => Edge::Loopback(own(handler)),
        (EdgeWord::Loopback, None) => Edge::UnhandledLoopback,
        (EdgeWord::Visit, handler) => Edge::Visit(own(handler?), edge.name?),
    })
}

fn suffix(options: &ProcessorOptions) -> String {
    let given = options.suffix.as_ref().map(|suffix| suffix.value.value());
    given.unwrap_or_else(|| STATE.to_owned())
}

/// ```text
/// #[processor(group = "g")] fn count(ctx: &mut Context, click: String) -> Result<()>
/// ```
fn check_has_input(syntax: &ProcessorSyntax, diag: &mut Diag) {
    let mut edges = syntax.edges.iter();
    if edges.all(|edge| edge.word != EdgeWord::Input) && syntax.edges_complete {
        let help = match &syntax.form {
            Form::Function(_) => "`#[input(Topic)]` above the function",
            Form::Block(_) => "`#[input(Topic)]` above a method",
        };
        diag.at(&syntax.ident, "a processor needs an input", help);
    }
}

/// ```text
/// #[processor(group = "g")] impl<'a> Mailbox<'a> { .. }
/// ```
fn check_lifetimes(syntax: &ProcessorSyntax, diag: &mut Diag) {
    let lifetimes = syntax.form.generics().map(Generics::lifetimes);
    if let Some(lifetime) = lifetimes.and_then(|mut lifetimes| lifetimes.next()) {
        diag.at(
            lifetime,
            "a processor has no lifetime parameters: it lives as long as the program",
            "share what it needs in an `Arc`",
        );
    }
}

/// ```text
/// #[output("alerts")]      #[join("profiles")]
/// ```
fn check_typed(edges: &[EdgeSyntax], diag: &mut Diag) {
    for edge in edges.iter().filter(|edge| edge.word != EdgeWord::Input) {
        if let Some(Target::Named(name)) = &edge.target {
            let written = name.token();
            let word = edge.word.name();
            let attribute = match edge.word {
                EdgeWord::Output => "stream",
                _ => "table",
            };
            diag.at(
                name,
                format!("{} needs a type, found the name {written}", edge.word.one()),
                &format!("declare it: `#[{attribute}({written}, value = ..)] pub struct Name;`, and write `#[{word}(Name)]`"),
            );
        }
    }
}

/// ```text
/// #[input(UserClicks, UserClicks)]
/// ```
fn check_repeats(edges: &[EdgeSyntax], diag: &mut Diag) {
    let text = |edge: &EdgeSyntax| edge.target.as_ref().map(Target::text);
    for (at, edge) in edges.iter().enumerate() {
        let Some(target) = &edge.target else {
            continue;
        };
        let same = |other: &EdgeSyntax| other.word == edge.word && text(other) == text(edge);
        if edges[..at].iter().any(same) {
            diag.at(
                target.tokens(),
                format!("`{}` is {} twice", target.text(), edge.word.one()),
                "leave one out",
            );
        }
    }
}

/// ```text
/// impl Mailbox { #[loopback] fn on_receipt(..) { .. } #[loopback] fn on_bounce(..) { .. } }
/// ```
fn check_one_loopback(edges: &[EdgeSyntax], diag: &mut Diag) {
    let loopbacks = edges.iter().filter(|edge| edge.word == EdgeWord::Loopback);
    for edge in loopbacks.skip(1) {
        diag.span(
            edge.at,
            "a processor has one loopback, this is a second one",
            "one handler for both: an `enum` as its value says which it is",
        );
    }
}

/// ```text
/// #[processor(group = "g")] impl Mailbox { #[visit] fn clean(..) { .. } }
/// ```
fn check_visits(syntax: &ProcessorSyntax, diag: &mut Diag) {
    let visits = syntax.edges.iter();
    let visits: Vec<_> = visits.filter(|edge| edge.word == EdgeWord::Visit).collect();
    for (at, visit) in visits.iter().enumerate() {
        // On a function it is an error, which was reported.
        if syntax.options.persist.is_none() && matches!(syntax.form, Form::Block(_)) {
            diag.span(
                visit.at,
                "a visit walks the group table, and this processor has none",
                "add `persist = <type>` to `#[processor(..)]`",
            );
        }
        let name = visit.name.as_ref().map(LitStr::value);
        let before = |other: &&EdgeSyntax| other.name.as_ref().map(LitStr::value) == name;
        if let (Some(name), true) = (&visit.name, visits[..at].iter().any(before)) {
            diag.at(
                name,
                format!("two visits are called `{}`", name.value()),
                "`#[visit(name = \"..\")]`",
            );
        }
    }
}

/// ```text
/// #[loopback] fn on_receipt(&self, ctx: &mut Context, receipt: Option<Receipt>) -> Result<()>
/// ```
fn check_values(edges: &[EdgeSyntax], diag: &mut Diag) {
    let of = |word| {
        let edges = edges.iter().filter(move |edge| edge.word == word);
        edges.filter_map(|edge| edge.handler.as_ref())
    };
    for handler in of(EdgeWord::Loopback) {
        // An input of the same handler may have them.
        if of(EdgeWord::Input).any(|input| input.name == handler.name) {
            continue;
        }
        if let Type::Path(path) = &handler.value
            && let Some(last) = path.path.segments.last()
            && last.ident == "Option"
            && let Some(value) = only_argument(last)
        {
            diag.at(
                &handler.value,
                "a loopback has no tombstones",
                &format!("take the value itself, `{}`", type_text(value)),
            );
        }
    }
}

/// ```text
/// #[processor(group = "g", suffix = "-table")]      #[processor(.., persist = i64, suffix = "-loop")]
/// ```
fn check_suffix(options: &ProcessorOptions, diag: &mut Diag) {
    let Some(suffix) = &options.suffix else {
        return;
    };
    if options.persist.is_none() {
        diag.at(
            &suffix.word,
            "`suffix` names the group table, and this processor has none",
            "add `persist = <type>`, or leave it out",
        );
    }
    let written = suffix.value.value();
    if [LOOP, VISIT_TOPIC].contains(&written.as_str()) {
        diag.at(
            &suffix.value,
            format!("suffix `{written}` is that of another topic of the group"),
            "`suffix = \"-state\"` is the default",
        );
    }
}

/// ```text
/// #[processor(group = "<250 letters>")]
/// ```
fn check_own_names(syntax: &ProcessorSyntax, diag: &mut Diag) {
    let Some(group) = &syntax.options.group else {
        return;
    };
    let has = |word| syntax.edges.iter().any(|edge| edge.word == word);
    let table = syntax.options.persist.is_some();
    let table = table.then(|| suffix(&syntax.options));
    let loopback = has(EdgeWord::Loopback).then(|| LOOP.to_owned());
    let visit = has(EdgeWord::Visit).then(|| VISIT_TOPIC.to_owned());
    let suffixes = [Some(String::new()), table, loopback, visit];
    let longest = suffixes.into_iter().flatten().max_by_key(String::len);
    let longest = longest.unwrap_or_default();
    let made = format!("{}{longest}", group.value.value());
    check_length(&group.value, &made, diag);
}

/// ```text
/// #[processor(group = "g", persist = i64)] #[input("g-state")] fn count(..)
/// #[processor(group = "g", persist = i64)] #[join(Count)]      fn count(..)
/// ```
fn check_own_topics(syntax: &ProcessorSyntax, diag: &mut Diag) {
    let table = suffix(&syntax.options);
    for edge in &syntax.edges {
        let Some(target) = &edge.target else {
            continue;
        };
        let is_own = match target {
            Target::Typed(ty) => is_this(ty, &syntax.this),
            Target::Named(name) => syntax.options.group.as_ref().is_some_and(|group| {
                let (name, group) = (name.value(), group.value.value());
                let own = name.strip_prefix(group.as_str());
                own.is_some_and(|own| own == table || own == LOOP || own == VISIT_TOPIC)
            }),
        };
        if is_own {
            let one = edge.word.one();
            diag.at(
                target.tokens(),
                format!("a processor cannot have its own table or loop topic as {one}"),
                "read and write the table with `ctx.value()` and `ctx.set_value(..)`",
            );
        }
    }
}

/// Whether a type is written as the processor's own.
fn is_this(ty: &Type, this: &Type) -> bool {
    let Type::Path(path) = ty else {
        return false;
    };
    path.path.is_ident("Self") || type_text(ty) == type_text(this)
}
