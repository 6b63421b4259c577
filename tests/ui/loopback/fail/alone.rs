// A loopback belongs to a processor.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

struct Mailbox;

impl Mailbox {
    #[loopback]
    fn back(&self) {}
}

fn main() {
    Mailbox.back();
}
