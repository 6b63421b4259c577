// A stream is a struct.

use goka::prelude::*;

#[stream("clicks", value = String)]
enum Clicks {
    Left,
}

fn main() {
    let _ = Clicks::Left;
}
