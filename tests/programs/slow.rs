//! A program for tests: the value of each record says what its handler does: `sleep <ms>`, `panic <ms>`
//! (after so long), or `write <bytes>`.

use std::time::Duration;

use goka::prelude::*;

/// Does what the value says, and keeps the value, or as many bytes as it says.
#[processor(group = "slow", persist = String)]
#[input("slow-works")]
fn slow(ctx: &mut Context, work: String) -> Result<()> {
    let (what, number) = work.split_once(' ').unwrap_or((&work, "0"));
    let number: u64 = number.parse()?;
    println!("began {} {work}", ctx.key());
    match what {
        "write" => {
            let large = "x".repeat(usize::try_from(number)?);
            ctx.set_value(&large)?;
            return Ok(());
        }
        "sleep" | "panic" => std::thread::sleep(Duration::from_millis(number)),
        _ => {}
    }
    assert_ne!(what, "panic", "the record says so");
    ctx.set_value(&work)?;
    Ok(())
}

fn main() -> ExitCode {
    goka::main()
}
