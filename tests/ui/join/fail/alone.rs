// A join belongs to a processor.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[join(Profiles)]
fn count(click: String) {
    let _ = click;
}

fn main() {
    count(String::new());
}
