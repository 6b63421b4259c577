//! `cargo run -p user-status -- --brokers localhost:9092`; on the embedded log, which only one
//! process can use, run both: `cargo run -p social`.

use user_status as _;

fn main() -> std::process::ExitCode {
    goka::main()
}
