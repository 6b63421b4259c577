//! The log events of the library in this process, each as a line `message field=value ..`. With
//! `GOKA_EVENTS=1` they are printed, those of librdkafka, too.

use std::fmt::{Debug, Write as _};
use std::sync::{LazyLock, Mutex, Once, PoisonError};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// When listening began, if events are printed.
static BEGAN: LazyLock<Option<Instant>> = LazyLock::new(|| {
    let printed = std::env::var("GOKA_EVENTS").is_ok_and(|set| set == "1");
    printed.then(Instant::now)
});

/// Begins to listen, for the whole process.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::subscriber::set_global_default(Listener).expect("no other subscriber is set")
    });
}

/// Whether a line has all these texts.
pub fn logged(texts: &[&str]) -> bool {
    line(texts).is_some()
}

/// How many lines have all these texts.
pub fn count(texts: &[&str]) -> usize {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let has = |line: &&String| texts.iter().all(|text| line.contains(text));
    lines.iter().filter(has).count()
}

/// The last line that has all these texts.
pub fn line(texts: &[&str]) -> Option<String> {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    let has = |line: &&String| texts.iter().all(|text| line.contains(text));
    lines.iter().rev().find(has).cloned()
}

struct Listener;

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("a string accepts all text");
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let kept = *metadata.level() <= Level::INFO && target.starts_with("goka");
        let printed = *metadata.level() <= Level::DEBUG && BEGAN.is_some();
        metadata.is_event() && (kept || printed && !target.starts_with("rdkafka"))
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = format!("{}{}", line.message, line.fields);
        if let Some(began) = *BEGAN {
            eprintln!("{:8.3} {text}", began.elapsed().as_secs_f64());
        }
        if *event.metadata().level() > Level::INFO {
            return;
        }
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(text);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
