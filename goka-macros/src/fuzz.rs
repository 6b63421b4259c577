//! Fuzzing: with any text in an attribute, and on any item, the macros do not panic and return Rust code. Arbitrary
//! attribute texts on valid items and valid attributes on arbitrary items, in equal parts, are the same in each run.
//! `GOKA_FUZZ=n` sets the number of rounds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proc_macro2::TokenStream;

use super::simulate::expand_simulate;
use super::{derive, expand_attribute, expand_processor, expand_topic, words};

/// The rounds of an ordinary run, which takes a few seconds.
const ROUNDS: usize = 20_000;

/// How many are expanded at a time.
const THREADS: usize = 4;

/// A generator of numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end as u64).expect("it is below a usize")
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// Words of the attributes, of Rust and of neither, in any order.
    fn soup(&mut self, most: usize) -> String {
        let count = self.below(most) + 1;
        let words: Vec<_> = (0..count).map(|_| self.one(WORDS)).collect();
        words.join(" ")
    }

    /// A valid text with a few words removed, doubled, exchanged or inserted.
    fn mutated(&mut self, right: &str) -> String {
        let mut words: Vec<_> = right.split(' ').collect();
        for _ in 0..=self.below(3) {
            let at = self.below(words.len());
            match self.below(5) {
                0 if words.len() > 1 => {
                    words.remove(at);
                }
                1 => words.insert(at, words[at]),
                2 => {
                    let other = self.below(words.len());
                    words.swap(at, other);
                }
                3 => words[at] = self.one(WORDS),
                _ => words.insert(at, self.one(WORDS)),
            }
        }
        words.join(" ")
    }

    fn changed(&mut self, right: &str) -> String {
        if self.below(3) == 0 {
            self.soup(12)
        } else {
            self.mutated(right)
        }
    }
}

/// Parts of attributes and items; parentheses are words, so that they lose their partners rarely.
const WORDS: &[&str] = &[
    "group",
    "persist",
    "name",
    "key",
    "value",
    "partitions",
    "partitioner",
    "start",
    "codec",
    "suffix",
    "guarantee",
    "on_misplaced",
    "on_error",
    "concurrency",
    "ttl",
    "window",
    "updates",
    "crate",
    "input",
    "output",
    "join",
    "lookup",
    "loopback",
    "visit",
    "timer",
    "persist",
    "cross",
    "processor",
    "stream",
    "table",
    "cross",
    "instances",
    "seeds",
    "faults",
    "(crash, slow)",
    "inputs",
    "edges",
    "earliest",
    "latest",
    "=",
    ",",
    "=",
    ",",
    "()",
    "[]",
    "{}",
    "( , )",
    "(group = \"g\")",
    "( \"x\" )",
    "\"g\"",
    "\"\"",
    "\"a b\"",
    "\"g-state\"",
    "\"g-loop\"",
    "\"ü\"",
    "r#\"raw\"#",
    "b\"x\"",
    "c\"x\"",
    "'x'",
    "'a",
    "'static",
    "i64",
    "String",
    "str",
    "&str",
    "&[u8]",
    "& 'a T",
    "Vec<u8>",
    "Json<Alert>",
    "Option<Json<T>>",
    "(u8, i8)",
    "[u8; 4]",
    "dyn Fn()",
    "impl Copy",
    "fn(u8)",
    "!",
    "_",
    "Self",
    "self",
    "super",
    "UserClicks",
    "Clicks<T>",
    "a::b::C",
    "<A as B>::C",
    "::std::string::String",
    "r#type",
    "r#fn",
    "3",
    "0",
    "-1",
    "1.5",
    "0x10",
    "4 + 4",
    "N",
    "true",
    "async",
    "mut",
    "const",
    "unsafe",
    "extern \"C\"",
    "pub",
    "pub(crate)",
    "where",
    "for<'a>",
    "impl",
    "struct",
    "enum",
    "trait",
    "fn",
    "mod",
    "union",
    "type",
    "Context",
    "Context<'_, X>",
    "&mut Context",
    "&self",
    "&mut self",
    "ctx",
    ":",
    ";",
    "::",
    "->",
    "=>",
    "|",
    "|x| x",
    "..",
    "...",
    "-",
    "+",
    "#",
    "#[doc]",
    "#[cfg(any())]",
    "#[input(A)]",
    "#[output(\"a\")]",
    "#[loopback]",
    "#[join(T)]",
    "/// text\n",
    "#![x]",
    "$",
    "@",
    "?",
    "__",
    "macro_rules!",
    "m!()",
    "return",
    "Result<()>",
    "{ Ok(()) }",
    "(ctx: &mut Context, v: String)",
];

/// Valid attribute texts, by attribute.
const PROCESSORS: &[&str] = &[
    "group = \"g\"",
    "group = \"g\" , persist = i64",
    "group = \"g\" , persist = Json < Alert > , key = u64 , partitioner = goka::Fnv1a",
    "group = \"g\" , name = Other , guarantee = \"at-least-once\" , on_misplaced = fail",
];
const TOPICS: &[&str] = &[
    "\"clicks\" , value = String",
    "\"clicks\" , key = u64 , value = Json < Alert > , partitions = 8 , partitioner = goka::Crc32",
];
const DERIVES: &[&str] = &[
    "name = \"money\"",
    "codec = Json",
    "ordered",
    "opaque",
    "name = \"a\" , ordered",
];
const SIMULATIONS: &[&str] = &[
    "instances = 3 , seeds = 500 , faults (crash,outage)",
    "faults (torn_write)",
];
const EDGES: &[&str] = &[
    "UserClicks",
    "\"user-clicks\"",
    "UserClicks , start = latest",
    "A , \"b\" , c::D",
    "name = \"rescore\"",
];

/// Valid items, with spaces between their words.
const FUNCTIONS: &[&str] = &[
    "#[input(UserClicks)] fn count ( ctx : &mut Context , v : String ) -> Result<()> { Ok(()) }",
    "#[input(\"a\", start = latest)] #[output(A, B)] pub fn r#match ( _ : &mut Context , v : Option < &[u8] > ) -> R { }",
    "/// Doc.\n #[allow(unused)] #[join(Profiles)] #[lookup(Devices)] #[input(A)] pub(crate) fn f < T : X > ( c : &mut Context < '_ , F > , ( a , b ) : (u8, u8) ) -> goka::Result where T : Y { }",
    "/// Doc.\n #[ignore] fn counts ( ) -> Workload { Workload :: of :: < A > ( ) }",
    "#[input(A)] async fn f ( c : &mut Context , v : & T ) -> Result<()> { Ok(()) }",
];
const IMPLS: &[&str] = &[
    "impl Mailbox { #[input(A)] fn on ( &self , ctx : &mut Context , v : String ) -> Result<()> { } #[loopback] async fn back ( &self , ctx : &mut Context , v : u8 ) -> Result<()> { } }",
    "#[output(B)] impl < T : X > a::Mailbox < T > where T : Y { const N : u8 = 1 ; #[input(A , \"b\")] #[visit(all)] fn on ( ctx : &mut Context , v : Option<&str> ) -> Result<()> { } fn other ( ) { } }",
];
const STRUCTS: &[&str] = &[
    "/// Doc.\n #[derive(Debug)] pub struct Clicks ;",
    "struct Clicks < T > ( T ) where T : Copy ;",
    "pub struct Money ( pub u32 ) ;",
    "struct Place { #[serde(rename = \"x\")] a : u32 , #[key(ordered)] pub b : Option < String > , c : Vec < Place > }",
    "enum Event { #[schema(opaque)] A , B ( u8 , Json < T > ) , C { d : i64 } }",
];
const OTHERS: &[&str] = &[
    "enum E { A , B ( u8 ) }",
    "trait T { fn f ( &self ) { } }",
    "mod m { fn f ( ) { } }",
    "type A = B ;",
    "fn f ( ) ;",
    "macro_rules! m { ( ) => { } }",
    "use a::b ;",
    "",
];

#[derive(Debug, Clone, Copy)]
enum Entry {
    Processor,
    Topic(bool),
    ProcessorAttribute(&'static str),
    Derive(usize),
    Simulate,
}

impl Entry {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Processor => PROCESSORS,
            Self::Topic(_) => TOPICS,
            Self::ProcessorAttribute(_) => EDGES,
            Self::Derive(_) => DERIVES,
            Self::Simulate => SIMULATIONS,
        }
    }

    fn expand(self, arguments: TokenStream, item: TokenStream) -> TokenStream {
        match self {
            Self::Processor => expand_processor(arguments, item),
            Self::Topic(false) => expand_topic(arguments, item, &words::STREAM),
            Self::Topic(true) => expand_topic(arguments, item, &words::TABLE),
            Self::ProcessorAttribute(word) => expand_attribute(arguments, item, word),
            Self::Simulate => expand_simulate(arguments, item),
            // The text of the attribute of a derive, above the item.
            Self::Derive(at) => {
                let attribute = ["codec", "key", "schema"][at];
                let attribute = proc_macro2::Ident::new(attribute, proc_macro2::Span::call_site());
                let item = quote::quote!(#[#attribute(#arguments)] #item);
                derive::run(item, [derive::codec, derive::key, derive::schema][at])
            }
        }
    }
}

/// The attributes of a processor, or in its impl.
const BESIDE: &[&str] = &[
    "input", "output", "join", "lookup", "loopback", "visit", "timer", "persist", "cross",
];

fn entry(random: &mut Random) -> Entry {
    match random.below(11) {
        10 => Entry::Simulate,
        0 => Entry::Topic(false),
        1 => Entry::Topic(true),
        8 | 9 => Entry::Derive(random.below(3)),
        2 | 3 => Entry::ProcessorAttribute(BESIDE[random.below(BESIDE.len())]),
        _ => Entry::Processor,
    }
}

/// The item that the macro is applied to.
fn item(random: &mut Random, entry: Entry) -> &'static str {
    let kinds = match (entry, random.below(8)) {
        (_, 0) => OTHERS,
        (Entry::Topic(_) | Entry::Derive(_), _) => STRUCTS,
        (_, 1 | 2) => IMPLS,
        _ => FUNCTIONS,
    };
    random.one(kinds)
}

/// Text that is not a sequence of tokens, such as an unmatched parenthesis, never reaches a macro.
fn tokens(text: &str) -> Option<TokenStream> {
    text.parse().ok()
}

#[test]
fn nothing_that_is_typed_makes_a_panic() {
    let asked = std::env::var("GOKA_FUZZ").ok();
    let rounds = asked.map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    std::thread::scope(|scope| {
        for seed in 1..=THREADS {
            scope.spawn(move || fuzz(seed, rounds.div_ceil(THREADS)));
        }
    });
}

fn fuzz(seed: usize, rounds: usize) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed as u64));
    let mut done = 0;
    while done < rounds {
        let entry = entry(&mut random);
        let (arguments, item) = (random.one(entry.arguments()), item(&mut random, entry));
        // In turn the attribute, the other attributes, and the item are arbitrary.
        let (arguments, item, is_item_right) = match done % 2 {
            0 => (random.changed(arguments), item.to_owned(), true),
            _ => {
                let item = match random.below(3) {
                    0 => {
                        let (edge, text) = (random.one(BESIDE), random.one(EDGES));
                        format!("#[{edge}({})] {item}", random.changed(text))
                    }
                    _ => random.changed(item),
                };
                (arguments.to_owned(), item, false)
            }
        };
        let (Some(argument_tokens), Some(item_tokens)) = (tokens(&arguments), tokens(&item)) else {
            continue;
        };
        done += 1;
        let expanded = AssertUnwindSafe(|| entry.expand(argument_tokens, item_tokens));
        let Ok(expansion) = catch_unwind(expanded) else {
            panic!("{entry:?} panics on ({arguments}) and {item}");
        };
        if is_item_right && done % 8 == 0 {
            let text = expansion.to_string();
            if let Err(error) = syn::parse2::<syn::File>(expansion) {
                panic!("{entry:?} of ({arguments}) and {item} is no Rust: {error}: {text}");
            }
        }
    }
}
