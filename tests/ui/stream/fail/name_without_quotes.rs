// A name is a string literal.

use goka::prelude::*;

#[stream(clicks, value = String)]
struct Clicks;

fn main() {
    let _ = Clicks;
}
