// A stream begins with its name, also when there is nothing else.

use goka::prelude::*;

#[stream]
struct Clicks;

fn main() {
    let _ = Clicks;
}
