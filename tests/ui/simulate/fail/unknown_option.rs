// An unknown option is refused.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(runs = 100, faults(crash))]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
