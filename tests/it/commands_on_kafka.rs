//! `emit`, `get` and `scan` on Kafka, of topics that the binary does not declare: all is text.

use crate::support::kafka::broker;
use crate::support::program::{Program, data_dir, entries};
use crate::support::unique;

#[test]
fn emitted_text_is_read_by_get_and_scan() {
    let Some(broker) = broker() else { return };
    let group = unique("texts");
    let topic = format!("{group}-state");
    broker.create_topic(&topic, 3, &[("cleanup.policy", "compact")]);
    let (_temp, dir) = data_dir();
    let clicks = Program::new("clicks", &dir).on(broker.bootstrap());

    let lines: String = (0..30_000)
        .map(|number| format!("key-{:04}\tvalue {number}\n", number % 3_000))
        .collect();
    let output = clicks.run_with(&lines, ["emit", &topic]);
    assert_eq!(
        (output.code, output.out.as_str()),
        (Some(0), ""),
        "{output:?}"
    );
    let output = clicks.run(["emit", &topic, "", "of the empty key"]);
    assert_eq!(output.code, Some(0), "{output:?}");

    let output = clicks.run(["get", &group, "key-0042"]);
    assert_eq!(
        (output.code, output.out.as_str()),
        (Some(0), "value 27042\n"),
        "{output:?}"
    );
    assert_eq!(clicks.run(["get", &group, ""]).out, "of the empty key\n");
    let output = clicks.run(["get", &group, "key-9999"]);
    assert_eq!(output.code, Some(1));
    assert!(output.error().contains("no key `key-9999`"), "{output:?}");

    let all = entries(&clicks.run(["scan", &group]).out);
    assert!(all.len() == 3_001 && all.is_sorted());
    let output = clicks.run(["scan", &group, "--prefix", "key-299", "--limit", "2"]);
    assert_eq!(output.out, "key-2990\tvalue 29990\nkey-2991\tvalue 29991\n");

    let output = clicks.run_with("a\t1\nbad\n", ["emit", &topic]);
    assert_eq!(output.code, Some(2));
    assert!(
        output.error().starts_with("error: line 2: no tab"),
        "{output:?}"
    );
    assert_eq!(clicks.run(["get", &group, "a"]).out, "1\n");
    assert!(!dir.exists(), "commands on Kafka need no data directory");
}
