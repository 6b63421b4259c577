//! Counts the clicks of each user.

use goka::prelude::*;
use social_topics::{Clicks, UserClicks};

/// How often each user has clicked.
#[processor(group = "click-count", persist = Clicks)]
#[input(UserClicks)]
pub fn click_count(ctx: &mut Context, _when: &str) -> Result<()> {
    ctx.update(|clicks| clicks.unwrap_or(0) + 1)?;
    Ok(())
}
