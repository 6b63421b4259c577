// A list of faults is not empty.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(faults())]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
