// A fault that nobody knows is refused, with those that are known.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(faults(crash, flood))]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
