// A stream says what its values are.

use goka::prelude::*;

#[stream("clicks", key = String)]
struct Clicks;

fn main() {
    let _ = Clicks;
}
