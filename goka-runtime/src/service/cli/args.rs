//! Reads the command line: the commands and options of the library, which are the same in every binary,
//! and the options of `run` that the program declares. A mistake is one line and exit code 2.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command as Clap};

use super::error::{CliError, one_line};
use super::run_options;
use crate::graph::Application;
use crate::service::settings::{Settings, UserArg, UserArgs};

pub(super) type Draw = fn(&Application) -> String;

/// The formats of `topology`; the first is the default.
const FORMATS: [(&str, Draw); 4] = [
    ("text", Application::text),
    ("mermaid", Application::mermaid),
    ("dot", Application::dot),
    ("json", Application::json),
];

#[derive(Debug)]
pub(super) struct Args {
    pub(super) brokers: Option<String>,
    pub(super) data_dir: PathBuf,
    pub(super) command: Command,
}

#[derive(Debug)]
pub(super) enum Command {
    Run(UserArgs, Settings),
    Emit {
        topic: String,
        /// Key and value, or lines from standard input.
        record: Option<(String, String)>,
    },
    Get {
        group: String,
        key: String,
    },
    Scan {
        group: String,
        prefix: Option<String>,
        limit: Option<usize>,
    },
    Visit {
        group: String,
        name: String,
        argument: String,
    },
    Topology(Draw),
}

pub(super) fn parse(
    user_args: &[UserArg],
    args: impl IntoIterator<Item = OsString>,
) -> Result<Args, CliError> {
    let mut args = args.into_iter().peekable();
    let program = args
        .peek()
        .and_then(|path| Path::new(path).file_name())
        .map_or_else(
            || "goka".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
    let clap = clap(&program, user_args)?;
    match clap.try_get_matches_from(args) {
        Ok(matches) => from_matches(&matches, user_args),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp) => {
            print!("{error}");
            Err(CliError::HelpPrinted)
        }
        Err(error) => Err(CliError::new(clap_error(&error, &program))),
    }
}

/// An error of clap on one line: the message, the tips, and the command that prints the help.
fn clap_error(error: &clap::Error, program: &str) -> String {
    let text = error.to_string();
    let message = text.split("\n\nUsage:").next().unwrap_or_default();
    let message = message.split("\n\nFor more information").next();
    let message = message.unwrap_or_default().trim_start_matches("error: ");
    one_line(&format!("{message}; see `{program} --help`"))
}

fn clap(program: &str, user_args: &[UserArg]) -> Result<Clap, CliError> {
    let brokers = Arg::new("brokers")
        .long("brokers")
        .env("GOKA_BROKERS")
        .value_name("HOST:PORT,..")
        .global(true)
        .help("Kafka's brokers; without them the embedded log is used");
    let data_dir = Arg::new("data-dir")
        .long("data-dir")
        .env("GOKA_DATA_DIR")
        .value_name("DIR")
        .default_value(".goka")
        .value_parser(clap::value_parser!(PathBuf))
        .global(true)
        .help("Directory of tables, views and the embedded log; each process has its own");
    let root = Clap::new("goka")
        .bin_name(program)
        .args([brokers, data_dir])
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .after_help("Logs go to standard error, as RUST_LOG says (default: info).");
    let reserved = ["brokers", "data-dir", "help", "prefix", "limit", "format"];
    let mut root_args = Vec::from(run_options::args());
    for user in user_args {
        let exists = root_args.iter().any(|arg: &Arg| arg.get_id() == user.name);
        if exists || reserved.contains(&user.name) {
            return Err(CliError::new(format!(
                "the program declares the option `--{}`, which exists already; rename it",
                user.name
            )));
        }
        let arg = Arg::new(user.name).long(user.name).help(user.help);
        root_args.push(match user.value {
            Some(value) => arg.value_name(value),
            None => arg.action(ArgAction::SetTrue),
        });
    }
    let run = Clap::new("run")
        .about("Run every processor of this program (the default)")
        .args(root_args.clone());
    let positional = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .value_name(name)
            .allow_negative_numbers(true)
            .help(help)
    };
    Ok(root.args(root_args).subcommands([
        run,
        Clap::new("emit")
            .about("Emit a record, or lines `key<TAB>value` from standard input")
            .arg(positional("TOPIC", "The topic").required(true))
            .arg(positional("KEY", "The key, as text").requires("VALUE"))
            .arg(positional(
                "VALUE",
                "The value, as text of the topic's codec",
            )),
        Clap::new("get")
            .about("Print the value of a key of a group's table")
            .arg(positional("GROUP", "The group, or a declared table by its name").required(true))
            .arg(positional("KEY", "The key, as text").required(true)),
        Clap::new("scan")
            .about("Print a group's table in key order, `key<TAB>value` a line")
            .arg(positional("GROUP", "The group, or a declared table by its name").required(true))
            .arg(
                Arg::new("prefix")
                    .long("prefix")
                    .value_name("P")
                    .help("Only keys that begin with this"),
            )
            .arg(
                Arg::new("limit")
                    .long("limit")
                    .value_name("N")
                    .value_parser(clap::value_parser!(usize))
                    .help("At most so many"),
            ),
        Clap::new("visit")
            .about("Ask a group to walk over its table: one of its visits, for every key")
            .arg(positional("GROUP", "The group").required(true))
            .arg(positional("NAME", "The visit").required(true))
            .arg(positional("ARGUMENT", "What its handler is given, as text").default_value("")),
        Clap::new("topology")
            .about("Print groups, topics, codecs and partitioners")
            .arg(
                Arg::new("format")
                    .long("format")
                    .value_name("F")
                    .value_parser(FORMATS.map(|(name, _)| name))
                    .default_value(FORMATS[0].0)
                    .help("How to print them"),
            ),
    ]))
}

fn from_matches(matches: &ArgMatches, user_args: &[UserArg]) -> Result<Args, CliError> {
    let text = |of: &ArgMatches, name: &str| of.get_one::<String>(name).cloned();
    let required = |of: &ArgMatches, name: &str| text(of, name).unwrap_or_default();
    let (name, sub) = matches.subcommand().unwrap_or(("run", matches));
    let is_given =
        |of: &ArgMatches, option: &str| of.value_source(option) == Some(ValueSource::CommandLine);
    if name != "run" {
        let own = run_options::args();
        let own = own.iter().map(|arg| arg.get_id().as_str());
        let mut options = user_args.iter().map(|user| user.name).chain(own);
        if let Some(option) = options.find(|option| is_given(matches, option)) {
            return Err(CliError::new(format!(
                "`--{option}` is an option of `run`, not of `{name}`; leave one out"
            )));
        }
    }
    // Options of `run` stand before or after the command; those after it count.
    let of = |option: &str| match name {
        "run" if is_given(sub, option) => sub,
        _ => matches,
    };
    let command = match name {
        "emit" => Command::Emit {
            topic: required(sub, "TOPIC"),
            record: text(sub, "KEY").zip(text(sub, "VALUE")),
        },
        "get" => Command::Get {
            group: required(sub, "GROUP"),
            key: required(sub, "KEY"),
        },
        "scan" => Command::Scan {
            group: required(sub, "GROUP"),
            prefix: text(sub, "prefix"),
            limit: sub.get_one("limit").copied(),
        },
        "visit" => Command::Visit {
            group: required(sub, "GROUP"),
            name: required(sub, "NAME"),
            argument: required(sub, "ARGUMENT"),
        },
        "topology" => {
            let given = required(sub, "format");
            let format = FORMATS.into_iter().find(|(name, _)| *name == given);
            Command::Topology(format.unwrap_or(FORMATS[0]).1)
        }
        _ => {
            let given = user_args
                .iter()
                .filter(|user| is_given(of(user.name), user.name));
            let value = |user: &UserArg| user.value.and_then(|_| text(of(user.name), user.name));
            let given = given.map(|user| (user.name, value(user))).collect();
            Command::Run(given, run_options::read(of))
        }
    };
    Ok(Args {
        // An empty environment variable counts as unset.
        brokers: text(sub, "brokers").filter(|brokers| !brokers.trim().is_empty()),
        data_dir: sub
            .get_one("data-dir")
            .cloned()
            .unwrap_or_else(|| ".goka".into()),
        command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER_ARGS: [UserArg; 2] = [
        UserArg {
            name: "no-simulate",
            value: None,
            help: "no clicks of our own",
        },
        UserArg {
            name: "file",
            value: Some("PATH"),
            help: "what to read",
        },
    ];

    fn parsed(line: &str) -> Result<Args, String> {
        let args = line.split(' ').map(OsString::from);
        parse(&USER_ARGS, args).map_err(|ended| match ended {
            CliError::Errors(lines) => lines.join("|"),
            other => format!("{other:?}"),
        })
    }

    #[test]
    fn run_is_the_default_and_takes_the_programs_own_options() {
        for line in [
            "/bin/clicks --no-simulate --file f",
            "clicks run --file=f --no-simulate",
        ] {
            let Command::Run(given, _) = parsed(line).expect("good").command else {
                panic!("{line}: not run");
            };
            assert!(given.contains_key("no-simulate"), "{line}");
            assert_eq!(
                given.get("file").and_then(Option::as_deref),
                Some("f"),
                "{line}"
            );
        }
        let Command::Run(given, _) = parsed("clicks").expect("good").command else {
            panic!("not run");
        };
        assert!(
            !given.contains_key("no-simulate")
                && given.get("file").and_then(Option::as_deref).is_none()
        );
    }

    #[test]
    fn settings_stand_before_or_after_run_and_those_after_it_count() {
        let settings = |line| match parsed(line).expect(line).command {
            Command::Run(_, settings) => settings,
            _ => panic!("{line}: not run"),
        };
        let second = settings("c --barrier 1s");
        assert_ne!(second, settings("c"));
        for line in [
            "c run --barrier 1s",
            "c --barrier 1s run",
            "c --barrier 2s run --barrier 1s",
        ] {
            assert_eq!(settings(line), second, "{line}");
        }
    }

    #[test]
    fn options_of_the_library_stand_before_or_after_the_command() {
        for line in [
            "c --data-dir d --brokers b:1 get g -5",
            "c get --brokers b:1 g -5 --data-dir d",
        ] {
            let args = parsed(line).expect(line);
            assert_eq!(args.brokers.as_deref(), Some("b:1"));
            assert_eq!(args.data_dir, Path::new("d"));
            assert!(matches!(args.command, Command::Get { key, .. } if key == "-5"));
        }
    }

    #[test]
    fn mistakes_are_one_line() {
        let rows = [
            ("c --nosuch", "unexpected argument '--nosuch' found"),
            ("c emitt t", "unrecognized subcommand 'emitt'"),
            ("c emit t k", "<VALUE>"),
            (
                "c scan g --limit many",
                "invalid value 'many' for '--limit <N>'",
            ),
            ("c get g", "<KEY>"),
            (
                "c topology --format svg",
                "[possible values: text, mermaid, dot, json]",
            ),
            (
                "c run --barrier 100",
                "for '--barrier <TIME>': a time is like",
            ),
            (
                "c --barrier 1s get g k",
                "`--barrier` is an option of `run`",
            ),
            (
                "c --no-simulate get g k",
                "`--no-simulate` is an option of `run`",
            ),
        ];
        for (line, expected) in rows {
            let message = parsed(line).expect_err(line);
            assert!(message.contains(expected), "{line}: {message}");
            assert!(
                !message.contains('\n') && !message.contains("Usage"),
                "{line}: {message}"
            );
        }
    }

    /// Arguments with a zero byte between them: read, or one line says what is wrong.
    #[test]
    fn command_lines_are_read_or_refused_in_one_line() {
        let corpus = [
            "app\0run\0--guarantee\0exactly-once\0--barrier\x00100ms\0--table-memory\x00256MiB",
            "app\0--brokers\0localhost:9092\0--data-dir\0data\0emit\0clicks\0alice\0{\"a\":1}",
            "app\0get\0group\0key",
            "app\0scan\0group\0--prefix\0p\0--limit\x0010",
            "app\0visit\0group\0name\0argument",
            "app\0topology\0--format\0dot",
            "app\0run\0--no-simulate\0--file\0path\0--session\x0010s\0--on-stop\0keep",
            "app\0run\0--retry\0topic:1:2\0--retry\0topic:1:3",
        ];
        let corpus = corpus.map(|line| line.as_bytes().to_vec());
        crate::fuzz::fuzz(&corpus, |bytes| {
            use std::os::unix::ffi::OsStringExt;

            let args = bytes.split(|byte| *byte == 0);
            // Help is printed, which is of no use here.
            let args = args.filter(|arg| {
                !arg.starts_with(b"-h") && !arg.starts_with(b"--h") && *arg != b"help"
            });
            let args = args.map(|arg| OsString::from_vec(arg.to_vec()));
            if let Err(CliError::Errors(lines)) = parse(&USER_ARGS, args) {
                for line in lines {
                    assert!(!line.is_empty() && !line.contains(['\n', '\r']), "{line:?}");
                }
            }
        });
    }
}
