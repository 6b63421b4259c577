// An output belongs to a processor.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[output(Alerts)]
struct Count;

fn main() {
    let _ = Count;
}
