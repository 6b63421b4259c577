// A struct with fields hides nothing that is wrong with the options: the value is missing, too (two here).

use goka::prelude::*;

#[stream("clicks", key = u64)]
pub struct Clicks {
    page: String,
}

fn main() {}
