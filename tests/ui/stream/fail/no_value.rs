// A stream has a value type.

use goka::prelude::*;

#[stream("clicks", key = String)]
struct Clicks;

fn main() {
    let _ = Clicks;
}
