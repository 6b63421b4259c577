// An input of the workload has the topic's value type.

use goka::simulation::Workload;
#[allow(unused_imports)]
use goka_ui_tests::processor::ClickCount;

#[allow(dead_code)]
fn counts() -> Workload {
    let workload = Workload::of::<ClickCount>();
    workload.input(goka_ui_tests::topics::UserClicks, 10, |_| ("alice", 3))
}

fn main() {}
