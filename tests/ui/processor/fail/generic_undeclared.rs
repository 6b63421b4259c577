// A generic processor has to declare its outputs.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox<T>(T);

#[processor(group = "g")]
impl<T: Send + Sync + 'static> Mailbox<T> {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context, click: String) -> Result<()> {
        let _ = (ctx.key(), click);
        ctx.emit(Alerts, "k", &Alert(1))?;
        Ok(())
    }
}

fn main() {
    goka::registry::Registry::new().with::<Mailbox<i64>>();
}
