// A stream is a unit struct.

use goka::prelude::*;

#[stream("clicks", value = String)]
struct Clicks {
    user: String,
}

fn main() {
    let _ = Clicks {
        user: String::new(),
    };
}
