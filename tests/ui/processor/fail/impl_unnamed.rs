// A processor is a type with a name.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

trait Named {}

#[processor(group = "g")]
impl dyn Named {
    #[input(UserClicks)]
    fn on_click(&self, click: String) {
        let _ = click;
    }
}

fn main() {
    let _: Option<&dyn Named> = None;
}
