// `crate` takes the path of this crate.

use goka::prelude::*;

#[stream("clicks", value = String, crate = "streams")]
pub struct Clicks;

fn main() {}
