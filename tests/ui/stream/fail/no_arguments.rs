// A stream begins with its name, also without options.

use goka::prelude::*;

#[stream]
struct Clicks;

fn main() {
    let _ = Clicks;
}
