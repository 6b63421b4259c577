// A fault is named once.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(faults(crash, outage, crash))]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
