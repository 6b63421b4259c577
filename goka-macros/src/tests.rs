//! What the macros write, and that they never panic.

use expect_test::{ExpectFile, expect_file};
use proc_macro2::TokenStream;
use quote::quote;

use super::simulate::expand_simulate;
use super::{derive, expand_attribute, expand_processor, expand_topic, words};

fn check(expansion: TokenStream, expected: &ExpectFile) {
    let file = syn::parse2(expansion).expect("the expansion is Rust");
    expected.assert_eq(&prettyplease::unparse(&file));
}

/// A counter with two inputs.
fn click_count() -> TokenStream {
    let arguments = quote!(group = "click-count", persist = i64);
    let item = quote! {
        /// Counts clicks.
        #[input(UserClicks, "more-clicks")]
        #[output(Alerts)]
        pub fn click_count(ctx: &mut Context, click: &str) -> Result<()> {
            Ok(())
        }
    };
    expand_processor(arguments, item)
}

#[test]
fn a_processor() {
    check(click_count(), &expect_file!["./snapshots/processor.rs"]);
}

/// Five edges, as in the documentation, and the table.
fn mailbox() -> TokenStream {
    let arguments = quote!(group = "mailbox", persist = Json<Inbox>);
    let item = quote! {
        #[join(Profiles)]
        #[lookup(Devices)]
        #[output(Pushes)]
        impl Mailbox {
            #[input(Messages)]
            fn on_message(&self, ctx: &mut Context, msg: Message) -> Result<()> {
                Ok(())
            }
            #[loopback]
            async fn on_receipt(&self, ctx: &mut Context, receipt: Json<Receipt>) -> Result<()> {
                Ok(())
            }
        }
    };
    expand_processor(arguments, item)
}

#[test]
fn an_impl() {
    check(mailbox(), &expect_file!["./snapshots/impl.rs"]);
}

#[test]
fn expansions_are_short() {
    for (expansion, most) in [(click_count(), 70), (mailbox(), 120)] {
        let file = syn::parse2(expansion).expect("the expansion is Rust");
        let lines = prettyplease::unparse(&file).lines().count();
        assert!(lines <= most, "{lines} lines");
    }
}

#[test]
fn a_join() {
    let arguments = quote!(group = "g");
    let item = quote! {
        #[input("clicks")]
        #[join(Profiles)]
        fn count(ctx: &mut Context, click: &str) -> Result<()> {
            Ok(())
        }
    };
    let expansion = expand_processor(arguments, item);
    check(expansion, &expect_file!["./snapshots/join.rs"]);
}

#[test]
fn a_visit() {
    let arguments = quote!(group = "g", persist = i64, suffix = "-table");
    let item = quote! {
        impl Counts {
            #[input("clicks", start = latest)]
            fn count(ctx: &mut Context, click: &str) -> Result<()> {
                Ok(())
            }
            #[visit(name = "forget")]
            fn clean(&self, ctx: &mut Context, least: &i64) -> Result<()> {
                Ok(())
            }
        }
    };
    let expansion = expand_processor(arguments, item);
    check(expansion, &expect_file!["./snapshots/visit.rs"]);
}

#[test]
fn a_processor_with_parameters() {
    let arguments = quote!(group = "g", persist = Json<T>);
    let item = quote! {
        #[output(Alerts)]
        impl<T> Router<T>
        where
            T: Serde,
        {
            #[input(Events<T>)]
            fn on(&self, ctx: &mut Context, event: &T) -> Result<()> {
                Ok(())
            }
        }
    };
    let expansion = expand_processor(arguments, item);
    check(expansion, &expect_file!["./snapshots/parameters.rs"]);
}

#[test]
fn a_table() {
    let expansion = expand_topic(
        quote!("profiles", key = u64, value = String),
        quote!(
            pub struct Profiles;
        ),
        &words::TABLE,
    );
    check(expansion, &expect_file!["./snapshots/table.rs"]);
}

#[test]
fn a_simulation() {
    let arguments = quote!(instances = 2, seeds = 500, faults(crash, torn_write));
    let item = quote! {
        /// Counts are right.
        #[ignore = "slow"]
        pub fn r#match() -> Workload {
            Workload::of::<ClickCount>()
        }
    };
    let expansion = expand_simulate(arguments, item);
    check(expansion, &expect_file!["./snapshots/simulate.rs"]);
}

#[test]
fn an_impl_with_mistakes() {
    let arguments = quote!(group = "mailbox");
    let item = quote! {
        #[output(Pushes)]
        impl Mailbox {
            #[input(Messages)]
            fn on_message(&mut self, ctx: &mut Context, msg: Message) -> Result<()> {
                Ok(())
            }
            #[loopback]
            #[join(Profiles)]
            fn on_receipt(&self, ctx: &mut Context) -> Result<()> {
                Ok(())
            }
            #[visit]
            fn clean(&self, ctx: &mut Context, least: i64) -> Result<()> {
                Ok(())
            }
        }
    };
    let expansion = expand_processor(arguments, item);
    check(
        expansion,
        &expect_file!["./snapshots/impl_with_mistakes.rs"],
    );
}

#[test]
fn a_processor_with_mistakes() {
    let arguments = quote!(group = "click-count", persists = i64);
    let item = quote! {
        #[input(UserClicks, "more clicks")]
        #[output(Alerts)]
        fn click_count(click: String) {}
    };
    let expansion = expand_processor(arguments, item);
    check(
        expansion,
        &expect_file!["./snapshots/processor_with_mistakes.rs"],
    );
}

#[test]
fn a_stream() {
    let arguments = quote!("alerts", value = Json<Alert>, partitions = 8);
    let expansion = expand_topic(
        arguments,
        quote!(
            pub struct Alerts;
        ),
        &words::STREAM,
    );
    check(expansion, &expect_file!["./snapshots/stream.rs"]);
}

#[test]
fn a_stream_with_a_function_and_a_codec() {
    let arguments = quote!(
        "prices",
        value = Cents,
        codec = crate::CentsOnTheWire,
        partitioner = place::by_tenant
    );
    let expansion = expand_topic(
        arguments,
        quote!(
            pub struct Prices;
        ),
        &words::STREAM,
    );
    check(
        expansion,
        &expect_file!["./snapshots/stream_by_function.rs"],
    );
}

#[test]
fn the_derives() {
    let codec = quote!(
        #[codec(Json<Vec<String>>)]
        struct Names {
            all: Vec<String>,
        }
    );
    let key = quote!(
        struct UserDay(UserId, i64);
    );
    let schema = quote!(
        #[serde(tag = "kind", rename_all = "snake_case")]
        enum Kind<T> {
            VeryEmpty,
            Full(Box<Kind<T>>),
            Rich {
                #[serde(flatten)]
                page: Page<T>,
                #[schema(opaque)]
                other: Other,
            },
        }
    );
    for (expansion, expected) in [
        (
            derive::run(codec, derive::codec),
            expect_file!["./snapshots/derive_codec.rs"],
        ),
        (
            derive::run(key, derive::key),
            expect_file!["./snapshots/derive_key.rs"],
        ),
        (
            derive::run(schema, derive::schema),
            expect_file!["./snapshots/derive_schema.rs"],
        ),
    ] {
        check(expansion, &expected);
    }
}

#[test]
fn an_input_steps_below_its_processor() {
    let item = quote! {
        #[output(Alerts)]
        #[goka::processor(group = "g")]
        #[input(Second)]
        fn count() {}
    };
    let expansion = expand_attribute(quote!(First), item, "input");
    let expected = quote! {
        #[goka::processor(group = "g")]
        #[input(First)]
        #[output(Alerts)]
        #[input(Second)]
        fn count() {}
    };
    assert_eq!(expansion.to_string(), expected.to_string());
}

/// Only absolute paths, so that names in the scope of the user do not matter.
#[test]
fn generated_code_names_nothing_of_the_users_scope() {
    let arguments = quote!(group = "g", persist = A1, key = A2, partitioner = A3);
    let item = quote! {
        #[input(A4, "a")]
        #[output(A5)]
        fn handler(a: &mut Context, b: A6) -> A7 {}
    };
    let expansion = expand_processor(arguments, item).to_string();
    for banned in [
        "Option", "Result", "Vec", "String", "Box", "Some", "None", "str",
    ] {
        let words = expansion.split(' ').collect::<Vec<_>>();
        for at in words.windows(2).filter(|pair| pair[1] == banned) {
            // `str` is in the language, as `i32` is.
            assert!(
                at[0] == "::" || at == ["'static", "str"],
                "{at:?} in {expansion}"
            );
        }
    }
}

/// A generator of numbers (xorshift): the same ones in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("it is below a usize")
    }

    fn tokens(&mut self, most: usize) -> TokenStream {
        const WORDS: &[&str] = &[
            "group",
            "persist",
            "name",
            "key",
            "value",
            "partitions",
            "start",
            "=",
            ",",
            "=",
            ",",
            "\"a b\"",
            "\"g\"",
            "\"\"",
            "i64",
            "Vec",
            "<",
            "u8",
            ">",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            "&",
            "'a",
            "dyn",
            "impl",
            "::",
            "3",
            "0",
            "#",
            "!",
            "input",
            "output",
            "join",
            "persist",
            "UserClicks",
            "-",
            "..",
            "r#type",
            "Self",
            "self",
            "fn",
            "async",
            "mut",
            "Context",
            ":",
            "->",
            "|",
            "b\"x\"",
            "1.5",
            "_",
            "__",
            "where",
            "for",
            "struct",
            ";",
            "pub",
            "c\"x\"",
            "unsafe",
            "const",
            "Json",
            "Option",
            "codec",
            "keyless",
            "ordered",
            "opaque",
            "rename",
            "tag",
            "partitioner",
            "earliest",
            "goka",
        ];
        loop {
            let count = self.below(most) + 1;
            let words: Vec<_> = (0..count).map(|_| WORDS[self.below(WORDS.len())]).collect();
            // Parentheses without a partner are no tokens.
            if let Ok(tokens) = words.join(" ").parse() {
                return tokens;
            }
        }
    }
}

#[test]
fn nothing_panics() {
    let items = [
        "#[input(UserClicks)] fn count(ctx: &mut Context, v: String) -> Result<()> { Ok(()) }",
        "#[input(\"a\")] fn __(ctx: &mut Context, v: &str) -> Result<()> { Ok(()) }",
        "#[input(A, start = earliest)] impl M { #[input(A)] fn on(&self) {} }",
        "struct X;",
        "struct X<T>(T);",
        "fn f(self, _: (), ..) {}",
        "fn f()",
        "enum E {}",
        "trait T { fn f(&self) {} }",
        "",
    ];
    let items: Vec<TokenStream> = items
        .iter()
        .map(|item| item.parse().expect("tokens"))
        .collect();
    let mut random = Random(42);
    for round in 0..4_000 {
        let (arguments, item) = match round % 4 {
            0 => (quote!(group = "g"), random.tokens(14)),
            1 => (random.tokens(10), items[random.below(items.len())].clone()),
            2 => {
                let edge = random.tokens(8);
                (
                    quote!(group = "g"),
                    quote!(
                        #[input(#edge)]
                        #[output(#edge)]
                        fn f(c: &mut Context, v: String) -> R {}
                    ),
                )
            }
            _ => {
                let parameters = random.tokens(10);
                (
                    quote!(group = "g"),
                    quote!(#[input(A)] fn f(#parameters) -> R {}),
                )
            }
        };
        expand_processor(arguments.clone(), item.clone());
        expand_topic(arguments.clone(), item.clone(), &words::TABLE);
        for derived in [
            quote!(#[codec(#arguments)] #[key(#arguments)] #[schema(#arguments)] #item),
            quote!(
                #[serde(#arguments)]
                struct X {
                    #[serde(#arguments)]
                    #[schema(#arguments)]
                    x: u8,
                }
            ),
            quote!(#[serde(#arguments)] enum X { #[serde(#arguments)] A(u8), B { #item } }),
        ] {
            derive::run(derived.clone(), derive::codec);
            derive::run(derived.clone(), derive::key);
            derive::run(derived, derive::schema);
        }
        expand_attribute(arguments, item, "output");
    }
}
