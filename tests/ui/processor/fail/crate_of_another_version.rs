// The crate at `crate = ..` has the version of the macros.

mod other {
    pub mod prelude {}
    pub mod __private {
        pub mod macros_0_0_9 {}
    }
}

use goka::prelude::*;

#[stream("clicks", value = String, crate = crate::other)]
pub struct Clicks;

fn main() {}
