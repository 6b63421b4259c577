// A simulation is a function.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate]
pub struct Counts;

pub fn workload() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
