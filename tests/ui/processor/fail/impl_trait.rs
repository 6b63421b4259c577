// A processor is an inherent impl, not that of a trait.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

trait Handle {
    fn on_click(&self, click: String);
}

#[processor(group = "g")]
impl Handle for Mailbox {
    #[input(UserClicks)]
    fn on_click(&self, click: String) {
        let _ = click;
    }
}

fn main() {
    Mailbox.on_click(String::new());
}
