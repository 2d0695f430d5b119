//! What is measured, and what it is measured against: processes that end with this one.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use embergate_load::metrics::{Metrics, look};
use embergate_test_support::binary::Desk;
use embergate_test_support::process::Process;
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
    /// Of the gateway alone.
    admin: Option<SocketAddr>,
    child: Child,
    /// What has to live as long as it does.
    _folder: Option<tempfile::TempDir>,
    _desk: Option<Desk>,
}

impl Server {
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Ends it as a crash would, and all processes that it started.
    pub(crate) fn kill(&mut self) {
        let workers = started_by(self.child.id());
        // They may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if !workers.is_empty() {
            let workers = workers.iter().map(u32::to_string);
            drop(Command::new("kill").arg("-KILL").args(workers).stderr(Stdio::null()).status());
        }
    }

    /// What the gateway's metrics say now.
    pub(crate) async fn metrics(&self) -> Result<Metrics, String> {
        Metrics::read(self.admin()?).await
    }

    /// What the gateway says of its upstreams, in the order of its configuration.
    pub(crate) async fn upstreams(&self) -> Result<Value, String> {
        let mut answer: Value = serde_json::from_str(&look(self.admin()?, "/admin/upstreams").await?)
            .map_err(|error| error.to_string())?;
        Ok(answer["upstreams"].take())
    }

    fn admin(&self) -> Result<SocketAddr, &'static str> {
        self.admin.ok_or("only the gateway has an admin listener")
    }

    /// Bytes that are resident now, of it and of all processes that it started.
    pub(crate) fn memory(&self) -> u64 {
        let process = self.child.id();
        started_by(process).into_iter().chain([process]).map(|process| Process(process).resident()).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The processes that `process` started, and those that they started.
fn started_by(process: u32) -> Vec<u32> {
    // Any of its threads may have started one.
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children: Vec<u32> = children
        .flat_map(|line| line.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<u32>>())
        .collect();
    let theirs: Vec<u32> = children.iter().flat_map(|child| started_by(*child)).collect();
    [children, theirs].concat()
}

/// A simulated Ollama.
pub(crate) fn simulator(behaviour: &Behaviour) -> Server {
    itself(roles::SIMULATOR, &behaviour.arguments())
}

/// A hyper server that answers everything with `body`.
pub(crate) fn bare(body: &[u8]) -> Server {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("answer");
    fs::write(&path, body).expect("a file can be written");
    let mut server = itself(roles::BARE, &[path.to_string_lossy().into_owned()]);
    server._folder = Some(folder);
    server
}

/// This program in another role.
fn itself(role: &str, arguments: &[String]) -> Server {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.arg(role).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("this program can be started again");
    let line = first_line(&mut child);
    let address = line.trim().parse().unwrap_or_else(|_| panic!("`{role}` said `{line}` for its address"));
    Server { address, admin: None, child, _folder: None, _desk: None }
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
    gateway_with(urls, more, "")
}

/// The same with `keys` in the model's table.
pub(crate) fn gateway_with(urls: &[String], more: &str, keys: &str) -> Server {
    let names: Vec<String> = (0..urls.len()).map(|at| format!("\"sim-{at}\"")).collect();
    let mut file = format!(
        "{more}\n[[model]]\nname = \"{MODEL}\"\nupstreams = [{}]\nmatryoshka = true\n{keys}\n",
        names.join(", ")
    );
    for (name, url) in names.iter().zip(urls) {
        file += &format!("[[upstream]]\nname = {name}\nkind = \"ollama\"\nurl = \"{url}\"\n");
    }
    let listen = "listen = \"127.0.0.1:0\"";
    let desk = Desk::new(env!("CARGO_BIN_EXE_embergate"));
    let server = if more.contains("[server]") { String::new() } else { format!("[server]\n{listen}\n") };
    let path =
        desk.write("bench.toml", format!("{server}[admin]\n{listen}\n[log]\nfilter = \"error\"\n{file}"));
    let mut command = desk.command(&["serve", "--json", "--config"]);
    let mut child = command.arg(path).stdout(Stdio::piped()).spawn().expect("the gateway starts");
    let line: Value =
        serde_json::from_str(&first_line(&mut child)).expect("the first line is the event `listening`");
    let address = |key: &str| {
        let url = line[key].as_str().expect("the event has an address");
        url.trim_start_matches("http://").parse().expect("an address")
    };
    let (address, admin) = (address("api"), Some(address("admin")));
    Server { address, admin, child, _folder: None, _desk: Some(desk) }
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
    let mut command = Command::new(nginx_binary()?);
    command.arg("-p").arg(folder.path()).arg("-c").arg(&path);
    listening(command, port, Some(folder))
}

/// Where nginx is.
///
/// # Errors
/// Says that it is not installed.
pub(crate) fn nginx_binary() -> Result<&'static str, String> {
    let found = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
    found.ok_or_else(|| "nginx is not installed: apt-get install nginx-light".to_owned())
}

/// LiteLLM's proxy in front of the upstream at `url`, with its cache in memory if `cache`.
///
/// # Errors
/// Says that it is not installed.
pub(crate) fn litellm(url: &str, cache: bool, workers: usize) -> Result<Server, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let port = free_port();
    let models = format!(
        "  - model_name: {MODEL}\n    litellm_params:\n      model: ollama/{MODEL}\n      api_base: {url}\n"
    );
    let configuration =
        template("litellm.yaml").replace("UPSTREAMS\n", &models).replace("CACHE", &cache.to_string());
    let path = folder.path().join("litellm.yaml");
    fs::write(&path, configuration).map_err(|error| error.to_string())?;
    // As a module: scripts of an environment that was moved do not run.
    let mut command = Command::new(peer("python")?);
    command
        .args(["-m", "litellm.proxy.proxy_cli", "--host", "127.0.0.1"])
        .args(["--num_workers", &workers.to_string(), "--port", &port.to_string(), "--config"])
        .arg(&path)
        .env("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true")
        // Otherwise it fetches prices from the internet.
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("LITELLM_MODE", "PRODUCTION")
        .env("LITELLM_LOG", "ERROR")
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

/// Seconds that the script takes which sends `server` the first `n` documents of `folder`, one after the other.
///
/// # Errors
/// It is not installed, or says why it failed.
pub(crate) fn one_by_one(server: &Server, folder: &Path, n: usize) -> Result<f64, String> {
    let mut command = Command::new(peer("python")?);
    command
        .arg(Path::new(TEMPLATES).join("one_by_one.py"))
        .args([&format!("http://{}", server.host()), MODEL])
        .arg(folder)
        .arg(n.to_string());
    let output = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = || format!("one_by_one.py: {}", String::from_utf8_lossy(&output.stderr));
    said.trim().parse().map_err(|_| failed())
}

fn template(name: &str) -> String {
    fs::read_to_string(Path::new(TEMPLATES).join(name)).expect("templates are beside this benchmark")
}

pub(crate) fn peer(program: &str) -> Result<PathBuf, String> {
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
    let mut server = Server { address, admin: None, child, _folder: folder, _desk: None };
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
