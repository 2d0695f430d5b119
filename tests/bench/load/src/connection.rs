//! One keep-alive HTTP/1.1 connection, which sends bytes as they are and reads one answer to each.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Headers of an answer, at most.
const MAX_HEADERS: usize = 64;
/// An answer, at most: its head and its body.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// A connection; after an error it is of no use.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// What was read and not yet taken.
    buffer: Vec<u8>,
    /// What of the buffer belongs to the last answer.
    taken: usize,
}

/// An answer, valid until the next request.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer<'c> {
    pub status: u16,
    pub body: &'c [u8],
    /// Whether the server keeps the connection open.
    pub stays: bool,
}

struct Head {
    status: u16,
    length: usize,
    body: Framing,
    stays: bool,
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

impl Connection {
    /// Connects to `address`.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024), taken: 0 })
    }

    /// Sends `request` and reads its answer.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.stream.write_all(request).await?;
        let head = loop {
            match head(&self.buffer)? {
                // "100 Continue" and its like come before the answer.
                Some(head) if head.status < 200 => drop(self.buffer.drain(..head.length)),
                Some(head) => break head,
                None => self.read().await?,
            }
        };
        let (start, end) = match head.body {
            Framing::Length(length) => {
                let end = head.length + length;
                while self.buffer.len() < end {
                    self.read().await?;
                }
                self.taken = end;
                (head.length, end)
            }
            Framing::Chunked => (head.length, self.join_chunks(head.length).await?),
        };
        Ok(Answer { status: head.status, body: &self.buffer[start..end], stays: head.stays })
    }

    async fn read(&mut self) -> io::Result<()> {
        if MAX_ANSWER < self.buffer.len() {
            return Err(io::Error::other("an answer of more than 256 MiB"));
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Moves the chunks that begin at `start` together, and returns where they end.
    async fn join_chunks(&mut self, start: usize) -> io::Result<usize> {
        let (mut end, mut at) = (start, start);
        loop {
            let (line, size) = match httparse::parse_chunk_size(&self.buffer[at..]) {
                Ok(httparse::Status::Complete((line, size))) => {
                    (line, usize::try_from(size).unwrap_or(MAX_ANSWER))
                }
                Ok(httparse::Status::Partial) => {
                    self.read().await?;
                    continue;
                }
                Err(_) => return Err(io::ErrorKind::InvalidData.into()),
            };
            let from = at + line;
            // Behind a chunk, and behind the last one's empty trailer, the line ends.
            while self.buffer.len() < from.saturating_add(size).saturating_add(2) {
                self.read().await?;
            }
            self.buffer.copy_within(from..from + size, end);
            end += size;
            at = from + size + 2;
            if size == 0 {
                self.taken = at;
                return Ok(end);
            }
        }
    }
}

/// The head at the beginning of `bytes`, once it is complete.
fn head(bytes: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    };
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    let body = match value("content-length").and_then(|length| length.parse().ok()) {
        Some(length) => Framing::Length(length),
        None if value("transfer-encoding").is_some() => Framing::Chunked,
        None => Framing::Length(0),
    };
    let stays = !value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Some(Head { status: response.code.unwrap_or_default(), length, body, stays }))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Asks twice over one connection that is answered by `bytes`, a few at a time.
    #[track_caller]
    fn check(bytes: &'static [u8], want: [Option<(u16, &str)>; 2]) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                for piece in bytes.chunks(7) {
                    stream.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
                stream.shutdown().await.unwrap();
                // Closed only later, so that nothing of it is lost.
                stream
            };
            let client = async {
                let mut connection = Connection::open(address).await.unwrap();
                for want in want {
                    let got = connection.ask(b"GET / HTTP/1.1\r\n\r\n").await.ok();
                    let got =
                        got.map(|answer| (answer.status, String::from_utf8_lossy(answer.body).into_owned()));
                    assert_eq!(got, want.map(|(status, body)| (status, body.to_owned())));
                }
            };
            tokio::join!(server, client);
        });
    }

    #[test]
    fn two_answers_of_known_length_follow_each_other() {
        check(
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirstHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            [Some((200, "first")), Some((404, ""))],
        );
    }

    #[test]
    fn chunks_are_joined() {
        check(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nz",
            [Some((200, "abc0123456789abcdef")), Some((200, "z"))],
        );
    }

    #[test]
    fn an_interim_answer_is_not_the_answer() {
        check(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
            [Some((200, "a")), None],
        );
    }

    #[test]
    fn an_answer_that_is_cut_is_none() {
        check(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", [None, None]);
        check(b"SSH-2.0-OpenSSH\r\n", [None, None]);
    }
}
