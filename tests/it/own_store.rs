//! The example with a store of its own: it keeps its tables over restarts.

// Compiled into this binary so that its own tests run, the conformance suite among them.
#[path = "../../examples/own_store.rs"]
#[allow(dead_code)]
mod example;

use crate::support::TIMEOUT;
use crate::support::program::{Program, data_dir};
use crate::support::wait_until;

#[test]
fn tables_are_kept_in_the_programs_own_store() {
    let (_temp, dir) = data_dir();
    let visits = Program::new("own_store", &dir);
    for expected in ["1\n", "2\n"] {
        let output = visits.run(["emit", "visits", "alice", "/index.html"]);
        assert_eq!(output.code, Some(0), "{output:?}");
        let mut running = visits.start(["run"]);
        wait_until("the visit is counted", TIMEOUT, || {
            visits.run(["get", "page-visits", "alice"]).out == expected
        });
        let (code, output) = running.stop();
        assert_eq!(code, Some(0), "{output}");
    }
    let files: Vec<_> = std::fs::read_dir(dir.join("tables"))
        .unwrap()
        .flatten()
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        files.contains(&"page-visits-state.0".to_owned()),
        "{files:?}"
    );
}
