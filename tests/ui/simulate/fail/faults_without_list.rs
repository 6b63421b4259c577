// Faults are given as a list.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(faults = crash)]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
