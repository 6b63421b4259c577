//! Keeps the latest status of each user, with the number of clicks at that time.

use goka::prelude::*;
use serde::{Deserialize, Serialize};
use social_topics::{ClickCounts, Clicks, Status, StatusChanges};

/// The profile of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The latest status.
    pub status: Status,
    /// The clicks so far.
    pub clicks: Clicks,
}

/// The profile of each user.
#[processor(group = "user-status", persist = Json<Profile>)]
#[input(StatusChanges)]
#[join(ClickCounts)]
pub fn user_status(ctx: &mut Context, status: Status) -> Result<()> {
    let clicks: i64 = ctx.join(ClickCounts)?.unwrap_or(0);
    ctx.set_value(&Profile { status, clicks })?;
    Ok(())
}
