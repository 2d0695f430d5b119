//! The commands.
//!
//! Results go to stdout, and everything said on the way to stderr. With `--json`
//! both are JSON: one document for each command, one line for each event of
//! `index` and `serve`, and errors as one document on stderr.

mod collection;
mod collections;
mod config;
mod covered;
mod doctor;
mod export;
mod failure;
mod import;
mod index;
mod key;
mod output;
mod planned;
mod plugin;
mod progress;
mod replay;
mod search;
mod serve;
mod snippet;
mod sources;
mod status;
mod summary;
mod through;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::App;
use crate::config::{Config, Folders, Loaded};
use crate::telemetry::{self, LogError};
use failure::Ending;
use output::Output;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    failed
  2    usage, configuration, or something that they name is missing or does not fit
  3    some documents failed, the others are indexed
  130  interrupted

Examples:
  embergate index docs --collection docs
  embergate search \"how do I install it\" --collection docs
  embergate serve
  embergate config show > new.toml";

/// Embeddings gateway in front of Ollama and any server that speaks an embeddings API.
#[derive(Debug, Parser)]
#[command(name = "embergate", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// The configuration; else ./embergate.toml, the user's, the system's, or the defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but results and errors
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP APIs
    Serve(serve::Serve),
    /// Index files and folders into a collection
    Index(Box<index::Index>),
    /// Search a collection
    Search(search::Search),
    /// Show what is indexed, from where, and how the last run ended
    Status(status::Status),
    /// Find and mend what is not as it should be
    Doctor(doctor::Doctor),
    /// Derive a stored chunk again, and compare
    Replay(replay::Command),
    /// List and delete collections, and choose the generation that serves
    #[command(subcommand)]
    Collections(collections::Collections),
    /// Write a collection as lines of JSON
    Export(export::Export),
    /// Make a collection of what `export` wrote
    Import(import::Import),
    /// List and check plugins
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Make API keys, and the tables that let them in
    #[command(subcommand)]
    Key(key::Key),
    /// Check and show the configuration
    #[command(subcommand)]
    Config(config::Command),
}

/// What every command works with.
#[derive(Clone)]
struct Context {
    config: Config,
    file: Option<PathBuf>,
    folders: Folders,
    output: Output,
}

impl Context {
    async fn start(&self) -> anyhow::Result<App> {
        Ok(App::start(self.config.clone(), &self.folders).await?)
    }

    /// For whoever embeds each text once: what comes again is remembered by the run itself.
    async fn start_to_index(&self) -> anyhow::Result<App> {
        let mut config = self.config.clone();
        config.cache.max_bytes = config.cache.max_bytes.min(config.index.remembered);
        Ok(App::start(config, &self.folders).await?)
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output::new(arguments.global.json, arguments.global.quiet);
    match run(arguments, output.clone()) {
        Ok(ending) => ending.into(),
        Err(error) if failure::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            failure::report(&error, &output);
            failure::exit_code(&error)
        }
    }
}

fn run(arguments: Arguments, output: Output) -> anyhow::Result<Ending> {
    let folders = Folders::of_this_machine();
    let Loaded { config, file } = match arguments.command {
        // Makes what a configuration may still lack.
        Command::Key(_) => Loaded { config: Config::default(), file: None },
        _ => crate::config::load(arguments.global.config.as_deref(), &folders)?,
    };
    start_log(&config, &arguments.command, &output)?;
    let context = Context { config, file, folders, output };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ending = runtime.block_on(async {
        match arguments.command {
            Command::Serve(command) => command.run(&context).await,
            Command::Index(command) => command.run(&context).await,
            Command::Search(command) => command.run(&context).await,
            Command::Status(command) => command.run(&context).await,
            Command::Doctor(command) => command.run(&context).await,
            Command::Replay(command) => command.run(&context).await,
            Command::Collections(command) => command.run(&context).await,
            Command::Export(command) => command.run(&context).await,
            Command::Import(command) => command.run(&context).await,
            Command::Plugin(command) => command.run(&context).await,
            Command::Key(command) => command.run(&context),
            Command::Config(command) => command.run(&context).await,
        }
    });
    // What blocks a thread still (a file read, a call into the store) must not keep the process.
    runtime.shutdown_background();
    telemetry::flush_log();
    ending
}

/// `serve` logs as configured; the others say themselves what they do, and log what is amiss.
fn start_log(config: &Config, command: &Command, output: &Output) -> Result<(), LogError> {
    let mut log = config.log.clone();
    if !matches!(command, Command::Serve(_)) {
        // What takes seconds is told as well.
        log.filter = "warn,embergate::plugin::compiling=info".into();
    }
    telemetry::start_log(&log, output.log_colour, matches!(command, Command::Serve(_)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn help(path: &[&str]) -> String {
        let mut command = Arguments::command().term_width(90);
        command.build();
        let mut at = &mut command;
        for name in path {
            at = at.find_subcommand_mut(name).unwrap();
        }
        at.render_long_help().to_string()
    }

    #[test]
    fn the_definitions_agree_with_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn help_says_what_there_is() {
        insta::assert_snapshot!("help", help(&[]));
        insta::assert_snapshot!("help_index", help(&["index"]));
        insta::assert_snapshot!("help_search", help(&["search"]));
        insta::assert_snapshot!("help_status", help(&["status"]));
        insta::assert_snapshot!("help_doctor", help(&["doctor"]));
        insta::assert_snapshot!("help_replay", help(&["replay"]));
        insta::assert_snapshot!("help_export", help(&["export"]));
        insta::assert_snapshot!("help_import", help(&["import"]));
        insta::assert_snapshot!("help_key_new", help(&["key", "new"]));
        insta::assert_snapshot!("help_key_hash", help(&["key", "hash"]));
        insta::assert_snapshot!("help_plugin_check", help(&["plugin", "check"]));
    }
}
