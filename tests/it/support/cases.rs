//! Cases that mostly wait for a broker: one test runs them side by side on one broker.

use std::thread;
use std::time::Instant;

use super::kafka::Broker;

/// A case: a name, which is also that of its group, and what it does.
pub type Case<R> = (&'static str, fn(&Broker, R));

/// Runs each case on a thread of its own, with the rig that `rig` makes for its name.
///
/// # Panics
/// When a case panics: with the names of all that did.
#[track_caller]
pub fn run_side_by_side<R>(broker: &Broker, cases: &[Case<R>], rig: impl Fn(&str) -> R + Sync) {
    let failed: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .map(|&(name, case)| {
                let rig = &rig;
                let run = move || {
                    let began = Instant::now();
                    case(broker, rig(name));
                    eprintln!("{name}: {:?}", began.elapsed());
                };
                (name, scope.spawn(run))
            })
            .collect();
        let ended = running.into_iter();
        ended
            .filter_map(|(name, case)| case.join().is_err().then_some(name))
            .collect()
    });
    assert!(failed.is_empty(), "{failed:?}");
}
