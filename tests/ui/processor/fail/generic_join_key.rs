// A generic processor joins tables with the group's key type only.

use goka::prelude::*;
#[allow(unused_imports)]
use goka_ui_tests::topics::*;

#[derive(Default)]
struct Mailbox<T>(T);

#[processor(group = "g")]
#[join(Plans)]
impl<T: Send + Sync + 'static> Mailbox<T> {
    #[input(UserClicks)]
    fn on_click(&self, ctx: &mut Context, click: String) -> Result<()> {
        let _ = (ctx.key(), click);
        let _ = ctx.join(Plans)?;
        Ok(())
    }
}

fn main() {
    goka::registry::Registry::new().with::<Mailbox<i64>>();
}
