//! A program for tests: the value of each record says what its handler does as long as a file exists. `abort
//! <path>` aborts the process, `overflow <path>` overflows the stack, `wait <path>` waits. Other values are
//! kept.

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use goka::prelude::*;

#[processor(group = "killer", persist = String)]
#[input("killer-works")]
fn killer(ctx: &mut Context, work: String) -> Result<()> {
    println!("began {} {work}", ctx.key());
    if let Some((what, path)) = work.split_once(' ') {
        while Path::new(path).exists() {
            match what {
                "abort" => std::process::abort(),
                "overflow" => drop(deeper(0)),
                _ => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
    ctx.set_value(&work)?;
    Ok(())
}

/// Recurses without an end, in a way that the compiler does not see.
fn deeper(depth: u64) -> [u64; 64] {
    let frame = black_box([depth; 64]);
    if black_box(depth) == u64::MAX {
        return frame;
    }
    let mut below = deeper(depth + 1);
    below[0] += frame[1];
    black_box(below)
}

fn main() -> ExitCode {
    goka::main()
}
