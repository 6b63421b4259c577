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
    let said = clicks.run_with(&lines, ["emit", &topic]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), ""), "{said:?}");
    let said = clicks.run(["emit", &topic, "", "of the empty key"]);
    assert_eq!(said.code, Some(0), "{said:?}");

    let said = clicks.run(["get", &group, "key-0042"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (Some(0), "value 27042\n"),
        "{said:?}"
    );
    assert_eq!(clicks.run(["get", &group, ""]).out, "of the empty key\n");
    let said = clicks.run(["get", &group, "key-9999"]);
    assert_eq!(said.code, Some(1));
    assert!(said.error().contains("no key `key-9999`"), "{said:?}");

    let all = entries(&clicks.run(["scan", &group]).out);
    assert!(all.len() == 3_001 && all.is_sorted());
    let said = clicks.run(["scan", &group, "--prefix", "key-299", "--limit", "2"]);
    assert_eq!(said.out, "key-2990\tvalue 29990\nkey-2991\tvalue 29991\n");

    let said = clicks.run_with("a\t1\nbad\n", ["emit", &topic]);
    assert_eq!(said.code, Some(2));
    assert!(
        said.error().starts_with("error: line 2: no tab"),
        "{said:?}"
    );
    assert_eq!(clicks.run(["get", &group, "a"]).out, "1\n");
    assert!(!dir.exists(), "commands on Kafka need no data directory");
}
