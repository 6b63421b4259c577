// The impl form is not available yet.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

struct Mailbox;

#[processor(group = "g")]
impl Mailbox {
    #[input(UserClicks)]
    fn on_click(&self, click: String) {
        let _ = click;
    }
}

fn main() {
    Mailbox.on_click(String::new());
}
