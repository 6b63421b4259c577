// Settings of the workload are no options of the attribute.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate(partitions = 8)]
fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
