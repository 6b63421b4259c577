//! The streams and tables that click-count and user-status share. After a change here the compiler checks
//! both.

use goka::prelude::*;
use serde::{Deserialize, Serialize};

/// A user clicked on the button; keyed by user, the value is the time.
#[derive(Debug, Clone, Copy)]
#[stream("user-clicks", key = String, value = String)]
pub struct UserClicks;

/// A user's status message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The text of the message.
    pub text: String,
}

/// A user changed the status message; keyed by user.
#[derive(Debug, Clone, Copy)]
#[stream("status-changes", key = String, value = Json<Status>)]
pub struct StatusChanges;

/// A number of clicks.
pub type Clicks = i64;

/// How often each user has clicked; written by click-count.
#[derive(Debug, Clone, Copy)]
#[table("click-count-state", key = String, value = Clicks)]
pub struct ClickCounts;
