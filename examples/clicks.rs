//! The example of Goka's introduction: an emitter simulates users who click, a processor
//! counts each user's clicks, and a view shows the table every five seconds.
//!
//! ```text
//! cargo run --example clicks                        # on the embedded log
//! cargo run --example clicks -- --no-simulate       # without simulated clicks
//! cargo run --example clicks -- emit user-clicks alice now
//! cargo run --example clicks -- get my-group alice
//! ```

use std::io::Write;
use std::time::{Duration, SystemTime};

use goka::AppHandle;
use goka::prelude::*;

/// Clicks: the key is the user's id, the value is the time of the click.
#[derive(Debug)]
#[stream("user-clicks", key = String, value = String)]
struct UserClicks;

#[processor(group = "my-group", persist = i64)]
#[input("user-clicks")]
fn my_group(ctx: &mut Context, msg: String) -> Result<()> {
    let counter = ctx.value()?.unwrap_or(0) + 1;
    ctx.set_value(&counter)?;
    // An error means that standard output is closed; counting continues.
    let _ = writeln!(std::io::stdout(), "k: {} c: {counter} m: {msg}", ctx.key());
    Ok(())
}

/// Ten users click in turn, ten times a second.
fn simulate(app: &AppHandle) -> Result<()> {
    if app.flag("no-simulate") {
        return Ok(());
    }
    let clicks = app.emitter::<UserClicks>()?;
    for user in (0..10).cycle() {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let timestamp = format!("{:.3}", now.as_secs_f64());
        clicks.emit(format!("user-{user}"), &timestamp)?;
        if !app.wait(Duration::from_millis(100)) {
            break;
        }
    }
    clicks.close(Duration::from_secs(5))?;
    Ok(())
}

/// Shows the first users of the table every five seconds.
fn show(app: &AppHandle) -> Result<()> {
    let counts = app.view::<MyGroup>()?;
    while app.wait(Duration::from_secs(5)) {
        if counts.wait_ready(Duration::ZERO).is_err() {
            continue;
        }
        let mut table = String::from("table:");
        for entry in counts.iter()?.take(20) {
            let (user, count) = entry?;
            table.push_str(&format!(" {user}={count}"));
        }
        let _ = writeln!(std::io::stdout(), "{table}");
    }
    Ok(())
}

fn main() -> ExitCode {
    Service::new()
        .flag("no-simulate", "Emits no simulated clicks")
        .background(simulate)
        .background(show)
        .main()
}
