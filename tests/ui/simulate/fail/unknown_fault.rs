// An unknown fault is refused with the known ones.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(faults(crash, flood))]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
