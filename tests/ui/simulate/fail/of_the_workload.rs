// What belongs to the workload is said there.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(partitions = 8)]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
