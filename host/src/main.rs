//! The `embergate` command.

fn main() -> std::process::ExitCode {
    embergate::cli::main()
}
