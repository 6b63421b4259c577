// A processor needs a handler.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g", persist = i64)]
impl Mailbox {
    fn on_click(&self, click: String) {
        let _ = click;
    }
}

fn main() {
    Mailbox.on_click(String::new());
    goka::registry::Registry::new().with::<Mailbox>();
}
