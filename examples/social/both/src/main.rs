//! Both applications in one program, for a machine without Kafka.
//!
//! ```text
//! cargo run -p social -- topology --format mermaid
//! cargo run -p social
//! cargo run -p social -- emit user-clicks alice now
//! cargo run -p social -- emit status-changes alice '{"text":"busy"}'
//! cargo run -p social -- get user-status alice
//! ```

use click_count as _;
use user_status as _;

fn main() -> std::process::ExitCode {
    goka::main()
}
