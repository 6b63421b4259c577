// A processor is a function.

use goka::prelude::*;

#[processor(group = "g")]
#[input("clicks")]
struct Count;

fn main() {
    let _ = Count;
}
