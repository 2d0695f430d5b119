//! Runs the built binary in a folder of its own, away from the user's configuration and data.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// What any single wait of a test may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a gateway's log goes that a test wants to read.
const LOG: &str = "serve.log";

/// A home, a current folder and a binary to run there.
pub struct Desk {
    binary: PathBuf,
    root: tempfile::TempDir,
    max_files: Option<usize>,
}

/// What a command that ended said.
#[derive(Debug)]
pub struct Said {
    /// Nothing when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Desk {
    /// `binary` is `env!("CARGO_BIN_EXE_embergate")`.
    pub fn new(binary: &str) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        for folder in ["home", "work"] {
            fs::create_dir(root.path().join(folder)).expect("a folder can be made");
        }
        Self { binary: binary.into(), root, max_files: None }
    }

    /// Of `built`, or the binary that `EMBERGATE_BENCH_BINARY` names in its place.
    pub fn to_measure(built: &str) -> Self {
        Self::new(std::env::var("EMBERGATE_BENCH_BINARY").as_deref().unwrap_or(built))
    }

    /// The commands may open `max_files` files, and no more.
    pub fn limited_to(self, max_files: usize) -> Self {
        Self { max_files: Some(max_files), ..self }
    }

    /// The folder that commands run in, with links in its path followed.
    pub fn folder(&self) -> PathBuf {
        self.root.path().join("work").canonicalize().expect("the folder is there")
    }

    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().join(path);
        fs::create_dir_all(path.parent().expect("it is below the folder")).expect("a folder can be made");
        fs::write(&path, content).expect("a file can be written");
        path
    }

    pub fn remove(&self, path: &str) {
        fs::remove_file(self.folder().join(path)).expect("the file is there");
    }

    /// The command, not started yet. Nothing of the caller's environment reaches
    /// it but `PATH`; compiled plugins are shared, as they would be on one machine.
    pub fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let home = self.home();
        let cache = std::env::temp_dir().join("embergate-e2e-cache");
        let mut command = match self.max_files {
            None => Command::new(&self.binary),
            Some(max_files) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("ulimit -n {max_files}; exec \"$0\" \"$@\"")).arg(&self.binary);
                shell
            }
        };
        command
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_DATA_HOME", home.join(".local/share"))
            .env("XDG_CACHE_HOME", cache)
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[impl AsRef<OsStr>]) -> Said {
        Said::by(&mut self.command(arguments))
    }

    /// Runs a command that must end well, and reads the JSON documents that it printed.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments = [arguments, &["--json"]].concat();
        let said = self.run(&arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {}", said.stderr);
        said.documents()
    }

    /// Starts `serve` on ports that the system chooses, and waits until it listens.
    #[track_caller]
    pub fn serve(&self, configuration: &str) -> Gateway {
        self.serve_with(configuration, Stdio::inherit())
    }

    /// Starts `serve` as [`Desk::serve`] does, and keeps its log for [`Desk::log`].
    #[track_caller]
    pub fn serve_logged(&self, configuration: &str) -> Gateway {
        self.serve_with(configuration, self.log_file())
    }

    /// Where a gateway logs to that [`Desk::log`] is asked about.
    pub fn log_file(&self) -> Stdio {
        fs::File::create(self.folder().join(LOG)).expect("a file can be made").into()
    }

    /// What a gateway has logged so far to [`Desk::log_file`].
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join(LOG)).expect("the log is there")
    }

    /// As `serve`, with further keys of `[server]`, and a log that the test waits for.
    #[track_caller]
    pub fn serve_watched(&self, server: &str, configuration: &str) -> (Gateway, Log) {
        let listen = "listen = \"127.0.0.1:0\"";
        let file = format!("[admin]\n{listen}\n[server]\n{listen}\n{server}\n{configuration}");
        let mut gateway = self.serve_file(&self.write("serve.toml", file), Stdio::piped());
        let stderr = gateway.child.stderr.take().expect("stderr is piped");
        (gateway, Log::new(stderr))
    }

    /// The same, with another place for its log.
    #[track_caller]
    pub fn serve_with(&self, configuration: &str, stderr: Stdio) -> Gateway {
        let listen = "listen = \"127.0.0.1:0\"";
        let file = format!("[server]\n{listen}\n[admin]\n{listen}\n{configuration}");
        self.serve_file(&self.write("serve.toml", file), stderr)
    }

    /// Starts `serve` with the configuration at `path`, whose ports should be 0.
    #[track_caller]
    pub fn serve_file(&self, path: &Path, stderr: Stdio) -> Gateway {
        let mut command =
            self.command(&[OsStr::new("serve"), "--json".as_ref(), "--config".as_ref(), path.as_ref()]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("the binary can be started");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("stdout can be read");
        let line: Value = serde_json::from_str(&line).expect("the first line is the event `listening`");
        let address = |key: &str| {
            let url = line[key].as_str().unwrap_or_default();
            url.split_once("://").map_or("", |(_, address)| address).to_owned()
        };
        Gateway { api: address("api"), admin: address("admin"), child, stdout }
    }
}

impl Said {
    pub fn by(command: &mut Command) -> Self {
        let output = command.output().expect("the binary can be started");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The JSON documents on stdout, one a line.
    #[track_caller]
    pub fn documents(&self) -> Vec<Value> {
        let document = |line| serde_json::from_str(line).expect("each line is a JSON document");
        self.stdout.lines().map(document).collect()
    }
}

/// A running `serve`. Killed when dropped.
pub struct Gateway {
    pub api: String,
    pub admin: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

/// What a running `serve` logs, line by line.
pub struct Log {
    lines: mpsc::Receiver<String>,
}

impl Log {
    fn new(stderr: ChildStderr) -> Self {
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { lines }
    }

    /// Waits for a line that has all of `words`, and returns it; those before it are gone.
    #[track_caller]
    pub fn until(&self, words: &[&str]) -> String {
        let mut passed = Vec::new();
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("no line with {words:?} in the log:\n{}", passed.join("\n"));
            };
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
            passed.push(line);
        }
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

impl Gateway {
    pub fn get(&self, path: &str) -> Answer {
        exchange(&self.api, &request("GET", path, ""))
    }

    /// Asks the admin listener.
    pub fn get_admin(&self, path: &str) -> Answer {
        exchange(&self.admin, &request("GET", path, ""))
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        exchange(&self.api, &request("POST", path, &body.to_string()))
    }

    /// Sends one request with more headers.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = request(method, path, body).replacen("\r\n\r\n", &format!("\r\n{more}\r\n"), 1);
        exchange(&self.api, &request)
    }

    /// A connection on which a request was sent but for its last byte; sending that lets it be answered.
    pub fn begin_post(&self, path: &str, body: &Value) -> Unfinished {
        let bytes = request("POST", path, &body.to_string()).into_bytes();
        let (last, head) = bytes.split_last().expect("a request is not empty");
        let mut stream = connect(&self.api);
        stream.write_all(head).expect("the request can be sent");
        Unfinished { stream, last: *last }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        signal("TERM", self.child.id());
    }

    /// Waits for its end; returns the code and what else it printed.
    pub fn wait(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("stdout can be read");
        let status = self.child.wait().expect("it can be waited for");
        (status.code(), rest)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A request that lacks its last byte.
pub struct Unfinished {
    stream: TcpStream,
    last: u8,
}

impl Unfinished {
    pub fn finish(mut self) -> Answer {
        self.stream.write_all(&[self.last]).expect("the request can be sent");
        answer(self.stream)
    }
}

/// Sends a signal by name, such as `TERM`, to a process that the test started.
pub fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status();
    assert!(status.expect("`kill` can be run").success());
}

/// An address on this machine where nobody listens.
pub fn closed_port() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("it is bound").to_string()
}

/// All files below `folder`, and what is in them.
pub fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the folder can be read").path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), fs::read(&path).expect("the file can be read"))),
        }
    }
    found.sort();
    found
}

fn request(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the gateway listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

fn exchange(address: &str, request: &str) -> Answer {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("the request can be sent");
    answer(stream)
}

fn answer(mut stream: TcpStream) -> Answer {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the gateway answers");
    let (head, body) = text.split_once("\r\n\r\n").expect("the answer has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, body: body.to_owned() }
}
