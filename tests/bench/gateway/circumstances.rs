//! What is measured, and on what: the machine, the gateway's binary, and the peers' versions.

use std::path::Path;
use std::process::Command;

use embergate_load::table::Taken;

use crate::servers;

/// The circumstances of a run that begins now.
pub(crate) fn now() -> Taken {
    Taken { peers: peers(), ..Taken::of(Path::new(env!("CARGO_BIN_EXE_embergate"))) }
}

fn peers() -> String {
    let nginx = servers::nginx_binary().and_then(|nginx| said(Command::new(nginx).arg("-v")));
    let nginx =
        nginx.map_or_else(|_| "no nginx".to_owned(), |said| said.replace("nginx version: nginx/", "nginx "));
    let script = "import importlib.metadata as m, platform as p; \
                  print('LiteLLM', m.version('litellm'), 'on Python', p.python_version())";
    let litellm = servers::peer("python").and_then(|python| said(Command::new(python).args(["-c", script])));
    format!("{nginx}, {}", litellm.unwrap_or_else(|_| "no LiteLLM".to_owned()))
}

/// The first line that `command` prints, wherever it prints it.
fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().map(str::to_owned).ok_or_else(|| "it says nothing".to_owned())
}
