// Timers are not available yet, without a processor either.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[timer(every = "1s")]
fn tick() {}

fn main() {
    tick();
}
