//! The command line: one file for each verb, and what they share.
//!
//! Exit codes: 0 when the verb did its work, 1 when the input has errors, 2 for wrong usage (clap's own).

mod check;
mod compile;
mod disasm;
mod eval;
mod explain;
mod format;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::deck;
use crate::deck::entity::Model;
use crate::diagnostic::{Diagnostic, Report, human, json};
use crate::emit::{self, Artifact};
use crate::lower;
use crate::schema::KongCompat;
use crate::source::{self, Inputs, Sources};

/// Compiles decK files into verified policy, offline.
#[derive(Parser)]
#[command(
    name = "tollc",
    version,
    after_help = "Exit codes: 0 done, 1 the input has errors, 2 wrong usage."
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    output: Output,
}

#[derive(Subcommand)]
enum Verb {
    /// Say everything that is wrong with decK files, and what depends on the Kong version
    Check(check::Check),
    /// Compile decK files into an artifact for `tollgate run`
    Compile(compile::Compile),
    /// Show the routes in match order, what applies where and from which line, and what it can cost
    Explain(explain::Explain),
    /// Judge one request: verdict, rule, edits, quotas
    Eval(eval::Eval),
    /// Print an artifact: every row and every instruction
    Disasm(disasm::Disasm),
    /// Write decK files in one canonical form
    Fmt(format::Fmt),
}

/// How answers are printed.
#[derive(Args, Clone, Copy)]
struct Output {
    /// For people or for programs
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Whether to use colour
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto)]
    color: Colour,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text with excerpts of the source
    Human,
    /// One JSON document on standard output
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Which files are read, and how.
#[derive(Args, Clone)]
struct Reading {
    /// decK files or folders; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whose defaults complete the files
    #[arg(long, value_enum, default_value = "3.9", value_name = "VERSION")]
    kong_compat: KongCompat,
    /// Warn instead of failing where Kong would enforce something that Tollgate does not
    #[arg(long)]
    allow_unsupported: bool,
    /// Give every entity this tag, as decK does; must agree with `_info.select_tags`; may be given several times
    #[arg(long = "select-tag", value_name = "TAG")]
    select_tags: Vec<String>,
    /// Fail on warnings too
    #[arg(short = 'E', long)]
    warnings_as_errors: bool,
}

/// Files as they were read.
#[derive(Default)]
struct Read {
    sources: Sources,
    report: Report,
    model: Option<Model>,
}

impl Reading {
    fn read(&self) -> Read {
        let (mut sources, report) = (Sources::default(), Report::default());
        let inputs = Inputs {
            paths: self.files.clone(),
        };
        let files = inputs.load(&mut sources, &report);
        let environment = |name: &str| std::env::var(name).ok();
        let root = source::read(&files, &sources, &environment, &report);
        let options = deck::Options {
            compat: self.kong_compat,
            allow_unsupported: self.allow_unsupported,
            select_tags: self.select_tags.iter().map(|tag| tag.as_str().into()).collect(),
        };
        let model = root.map(|root| deck::read(root, &options, &report));
        Read {
            sources,
            report,
            model,
        }
    }

    /// Reads and compiles.
    fn compile(&self, generation: u64) -> (Read, Option<Artifact>) {
        let read = self.read();
        let options = lower::Options {
            allow_unsupported: self.allow_unsupported,
            generation,
        };
        let model = read.model.as_ref();
        let artifact = model.and_then(|model| emit::artifact(model, &read.sources, &read.report, options));
        (read, artifact)
    }

    fn failed(&self, report: &Report) -> bool {
        report.errors() > 0 || (self.warnings_as_errors && report.warnings() > 0)
    }
}

impl Output {
    /// Prints the findings of a run: to standard error for people, nothing for programs, whose document has them.
    fn findings(self, read: &Read) {
        if self.format == Format::Human {
            let styled = match self.color {
                Colour::Auto => std::io::IsTerminal::is_terminal(&std::io::stderr()),
                Colour::Always => true,
                Colour::Never => false,
            };
            eprint!("{}", human(&read.report, &read.sources, styled));
        }
    }

    /// Says that the command line makes no sense.
    fn usage(self, words: &str) -> ExitCode {
        let read = Read::default();
        read.report.push(Diagnostic::error("usage", words));
        self.failure(&read);
        ExitCode::from(2)
    }

    /// Says what went wrong, for whoever asks.
    fn failure(self, read: &Read) -> ExitCode {
        self.findings(read);
        self.document(read, serde_json::json!({"ok": false}));
        ExitCode::FAILURE
    }

    /// Prints a document for programs.
    fn document(self, read: &Read, mut document: serde_json::Value) {
        if self.format == Format::Json {
            document["diagnostics"] = json(&read.report, &read.sources);
            print(&format!("{document}\n"));
        }
    }
}

/// Prints an answer. A reader that has gone away ends the program quietly.
fn print(text: &str) {
    print_bytes(text.as_bytes());
}

fn print_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(bytes).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

fn code(failed: bool) -> ExitCode {
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Does what the command line says.
pub fn run(cli: Cli) -> ExitCode {
    match cli.verb {
        Verb::Check(verb) => verb.run(cli.output),
        Verb::Compile(verb) => verb.run(cli.output),
        Verb::Explain(verb) => verb.run(cli.output),
        Verb::Eval(verb) => verb.run(cli.output),
        Verb::Disasm(verb) => verb.run(cli.output),
        Verb::Fmt(verb) => verb.run(cli.output),
    }
}
