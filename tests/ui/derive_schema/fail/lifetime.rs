// A stored value borrows nothing.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(goka::Schema)]
struct Inner<'a>(&'a str);

fn main() {
    let _ = Inner("a").0;
}
