//! What is measured, and what it is measured against: processes that end with this one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use embergate_load::Api;
use embergate_test_support::binary::Desk;
use serde_json::Value;

use crate::roles::{self, Behaviour, MODEL};

/// Where `tests/bench/peers/install.sh` puts programs of Python.
const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench/peers");
const TEMPLATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/peers");

/// How long a server may take to listen. LiteLLM imports for ten seconds and more.
const PATIENCE: Duration = Duration::from_secs(90);

/// A process that listens. Killed when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    child: Child,
    /// What has to live as long as it does.
    _folder: Option<tempfile::TempDir>,
    _desk: Option<Desk>,
}

impl Server {
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Bytes that are resident now, of it and of all processes that it started.
    pub(crate) fn memory(&self) -> u64 {
        resident(self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let theirs: u64 = children.split_whitespace().filter_map(|child| child.parse().ok()).map(resident).sum();
    kib * 1024 + theirs
}

/// A simulated Ollama.
pub(crate) fn simulator(behaviour: &Behaviour) -> Server {
    itself(roles::SIMULATOR, &behaviour.arguments())
}

/// A hyper server that has its answer ready: the vector of [`texts::first`].
pub(crate) fn bare(api: Api) -> Server {
    let word = if api == Api::Openai { roles::BASE64 } else { roles::NUMBERS };
    itself(roles::BARE, &[word.to_owned()])
}

/// This program in another role.
fn itself(role: &str, arguments: &[String]) -> Server {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.arg(role).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("this program can be started again");
    let line = first_line(&mut child);
    let address = line.trim().parse().unwrap_or_else(|_| panic!("`{role}` said `{line}` for its address"));
    Server { address, child, _folder: None, _desk: None }
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    let stdout = child.stdout.take().expect("stdout is piped");
    BufReader::new(stdout).read_line(&mut line).expect("stdout can be read");
    line
}

/// The gateway of this build in front of `simulators`, with `more` in its configuration.
pub(crate) fn gateway(simulators: &[&Server], more: &str) -> Server {
    let urls: Vec<String> =
        simulators.iter().map(|simulator| format!("http://{}", simulator.host())).collect();
    gateway_at(&urls, more)
}

/// The same in front of simulators that this process runs.
pub(crate) fn gateway_at(urls: &[String], more: &str) -> Server {
    let names: Vec<String> = (0..urls.len()).map(|at| format!("\"sim-{at}\"")).collect();
    let mut file = format!(
        "{more}\n[[model]]\nname = \"{MODEL}\"\nupstreams = [{}]\nmatryoshka = true\n",
        names.join(", ")
    );
    for (name, url) in names.iter().zip(urls) {
        file += &format!("[[upstream]]\nname = {name}\nkind = \"ollama\"\nurl = \"{url}\"\n");
    }
    let listen = "listen = \"127.0.0.1:0\"";
    let desk = Desk::new(env!("CARGO_BIN_EXE_embergate"));
    let path = desk.write(
        "bench.toml",
        format!("[server]\n{listen}\n[admin]\n{listen}\n[log]\nfilter = \"error\"\n{file}"),
    );
    let mut command = desk.command(&["serve", "--json", "--config"]);
    let mut child = command.arg(path).stdout(Stdio::piped()).spawn().expect("the gateway starts");
    let line: Value =
        serde_json::from_str(&first_line(&mut child)).expect("the first line is the event `listening`");
    let api = line["api"].as_str().expect("the event has an address").trim_start_matches("http://");
    Server { address: api.parse().expect("an address"), child, _folder: None, _desk: Some(desk) }
}

/// nginx, which passes everything on to `simulator`.
///
/// # Errors
/// Says that it is not installed.
pub(crate) fn nginx(simulator: &Server) -> Result<Server, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let port = free_port();
    let configuration = template("nginx.conf")
        .replace("FOLDER", &folder.path().to_string_lossy())
        .replace("127.0.0.1:PORT", &format!("127.0.0.1:{port}"))
        .replace("server UPSTREAM", &format!("server {}", simulator.host()));
    let path = folder.path().join("nginx.conf");
    fs::write(&path, configuration).map_err(|error| error.to_string())?;
    let binary = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    let binary = binary.ok_or("nginx is not installed: apt-get install nginx-light")?;
    let mut command = Command::new(binary);
    command.arg("-p").arg(folder.path()).arg("-c").arg(&path);
    listening(command, port, Some(folder))
}

/// LiteLLM's proxy in front of `simulators`, with its cache in memory if `cache`.
///
/// # Errors
/// Says that it is not installed.
pub(crate) fn litellm(simulators: &[&Server], cache: bool) -> Result<Server, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let port = free_port();
    let models: String = simulators
        .iter()
        .map(|simulator| {
            format!(
                "  - model_name: {MODEL}\n    litellm_params:\n      model: ollama/{MODEL}\n      api_base: http://{}\n",
                simulator.host()
            )
        })
        .collect();
    let configuration =
        template("litellm.yaml").replace("UPSTREAMS\n", &models).replace("CACHE", &cache.to_string());
    let path = folder.path().join("litellm.yaml");
    fs::write(&path, configuration).map_err(|error| error.to_string())?;
    let mut command = Command::new(peer("litellm")?);
    command
        .args(["--host", "127.0.0.1", "--num_workers", "1", "--port", &port.to_string(), "--config"])
        .arg(&path)
        .env("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true")
        // Otherwise it fetches prices from the internet.
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .current_dir(folder.path());
    listening(command, port, Some(folder))
}

/// The pattern that people start with, in front of one simulator.
///
/// # Errors
/// Says that it is not installed.
pub(crate) fn pattern(simulator: &Server) -> Result<Server, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let port = free_port();
    let mut command = Command::new(peer("python")?);
    command
        .arg(Path::new(TEMPLATES).join("pattern.py"))
        .arg(port.to_string())
        .arg(format!("http://{}", simulator.host()))
        .arg(folder.path());
    listening(command, port, Some(folder))
}

fn template(name: &str) -> String {
    fs::read_to_string(Path::new(TEMPLATES).join(name)).expect("templates are beside this benchmark")
}

fn peer(program: &str) -> Result<PathBuf, String> {
    let path = Path::new(PEERS).join("bin").join(program);
    if path.exists() { Ok(path) } else { Err("peers are not installed: tests/bench/peers/install.sh".into()) }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on the loopback");
    listener.local_addr().expect("it is bound").port()
}

/// Starts `command`, and waits until something listens at `port`.
fn listening(mut command: Command, port: u16, folder: Option<tempfile::TempDir>) -> Result<Server, String> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut server = Server { address, child, _folder: folder, _desk: None };
    let since = Instant::now();
    while TcpStream::connect(address).is_err() {
        let ended = server.child.try_wait().map_err(|error| error.to_string())?;
        if ended.is_some() || PATIENCE < since.elapsed() {
            return Err(format!("{command:?} does not listen"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(server)
}
