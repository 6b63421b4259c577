// A method beside the handlers can use declared edges only.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox;

#[processor(group = "g")]
impl Mailbox {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context, click: String) -> Result<()> {
        let _ = (ctx.key(), click);
        self.helper(ctx)?;
        Ok(())
    }

    fn helper(&self, ctx: &mut Context) -> Result<()> {
        ctx.emit(Alerts, "k", &Alert(1))?;
        Ok(())
    }
}

fn main() {
    goka::registry::Registry::new().with::<Mailbox>();
}
