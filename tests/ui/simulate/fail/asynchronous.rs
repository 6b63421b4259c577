// A function that gives a workload is not asynchronous.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[goka::simulate]
async fn counts() -> Workload {
    Workload::of::<ClickCount>()
}

fn main() {}
