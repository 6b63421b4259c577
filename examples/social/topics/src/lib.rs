//! The streams and tables that click-count and user-status share: what changes here is checked by
//! the compiler in both.

use goka::prelude::*;
use serde::{Deserialize, Serialize};

/// A user clicked on the button; keyed by user, the value says when.
#[derive(Debug, Clone, Copy)]
#[stream("user-clicks", key = String, value = String)]
pub struct UserClicks;

/// A user's status message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What it says.
    pub text: String,
}

/// A user changed the status message; keyed by user.
#[derive(Debug, Clone, Copy)]
#[stream("status-changes", key = String, value = Json<Status>)]
pub struct StatusChanges;

/// How many clicks.
pub type Clicks = i64;

/// How often each user has clicked: click-count writes it, anybody may read it.
#[derive(Debug, Clone, Copy)]
#[table("click-count-state", key = String, value = Clicks)]
pub struct ClickCounts;
