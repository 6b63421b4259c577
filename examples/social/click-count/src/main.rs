//! `cargo run -p click-count`, then `cargo run -p click-count -- emit user-clicks alice now`.

use click_count as _;

fn main() -> std::process::ExitCode {
    goka::main()
}
