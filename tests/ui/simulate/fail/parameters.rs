// A simulation has no parameters.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate]
fn counts(users: usize) -> Workload {
    let _ = users;
    Workload::of::<ClickCount>()
}

fn main() {}
