//! The behaviours, by name.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use embergate::plugin::{log, text};
use exports::embergate::plugin::chunker::{Chunks, Guest as Chunker, OffsetUnit, Span};
use exports::embergate::plugin::lifecycle::{Error, Guest as Lifecycle, Info, Value};
use exports::embergate::plugin::preprocessor::{
    Answer, Context, Document, Edit, Guest as Preprocessor, Patch, Patches,
};

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package embergate:hostile;

        package wasi:io@0.2.0 {
            interface poll {
                resource pollable { block: func(); }
            }
        }

        package wasi:clocks@0.2.0 {
            interface monotonic-clock {
                use wasi:io/poll@0.2.0.{pollable};
                now: func() -> u64;
                subscribe-duration: func(nanoseconds: u64) -> own<pollable>;
            }
            interface wall-clock {
                record datetime { seconds: u64, nanoseconds: u32 }
                now: func() -> datetime;
            }
        }

        package wasi:random@0.2.0 {
            interface random {
                get-random-bytes: func(len: u64) -> list<u8>;
                get-random-u64: func() -> u64;
            }
            interface insecure { get-insecure-random-u64: func() -> u64; }
            interface insecure-seed { insecure-seed: func() -> tuple<u64, u64>; }
        }

        package wasi:cli@0.2.0 {
            interface environment {
                get-environment: func() -> list<tuple<string, string>>;
                get-arguments: func() -> list<string>;
                initial-cwd: func() -> option<string>;
            }
        }

        package wasi:filesystem@0.2.0 {
            interface types { resource descriptor; }
            interface preopens {
                use types.{descriptor};
                get-directories: func() -> list<tuple<descriptor, string>>;
            }
        }

        package wasi:sockets@0.2.0 {
            interface network {
                enum error-code {
                    unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout,
                    concurrency-conflict, not-in-progress, would-block, invalid-state, new-socket-limit,
                    address-not-bindable, address-in-use, remote-unreachable, connection-refused,
                    connection-reset, connection-aborted, datagram-too-large, name-unresolvable,
                    temporary-resolver-failure, permanent-resolver-failure,
                }
                enum ip-address-family { ipv4, ipv6 }
            }
            interface tcp { resource tcp-socket; }
            interface udp { resource udp-socket; }
            interface tcp-create-socket {
                use network.{error-code, ip-address-family};
                use tcp.{tcp-socket};
                create-tcp-socket: func(address-family: ip-address-family) -> result<tcp-socket, error-code>;
            }
            interface udp-create-socket {
                use network.{error-code, ip-address-family};
                use udp.{udp-socket};
                create-udp-socket: func(address-family: ip-address-family) -> result<udp-socket, error-code>;
            }
        }

        world hostile {
            include embergate:plugin/both-roles-plugin@0.1.0;
            import wasi:clocks/monotonic-clock@0.2.0;
            import wasi:clocks/wall-clock@0.2.0;
            import wasi:random/random@0.2.0;
            import wasi:random/insecure@0.2.0;
            import wasi:random/insecure-seed@0.2.0;
            import wasi:cli/environment@0.2.0;
            import wasi:filesystem/preopens@0.2.0;
            import wasi:sockets/tcp-create-socket@0.2.0;
            import wasi:sockets/udp-create-socket@0.2.0;
        }
    ",
    world: "embergate:hostile/hostile",
    generate_all,
});

struct Hostile;
export!(Hostile);

/// Calls that this instance has served.
static CALLS: AtomicU32 = AtomicU32::new(0);
/// Set by the key `meek`: it hears orders, and does no harm.
static MEEK: AtomicBool = AtomicBool::new(false);

impl Lifecycle for Hostile {
    fn start(config: Vec<(String, Value)>) -> Result<Info, Error> {
        for (key, value) in config {
            match (key.as_str(), value) {
                ("start", Value::Text(order)) if order == "refuse" => {
                    return Err(Error::InvalidConfig("no such thing".into()));
                }
                ("start", Value::Text(order)) if order == "text" => {
                    text::count_texts(&[order]);
                }
                ("start", Value::Text(order)) => obey(&order),
                ("meek", Value::Flag(meek)) => MEEK.store(meek, Ordering::Relaxed),
                _ => (),
            }
        }
        Ok(Info { name: "hostile".into(), version: "6.6.6".into(), about: "does as it is told".into() })
    }
}

impl Preprocessor for Hostile {
    fn process(_: Context, docs: Vec<Document>) -> Result<Answer, Error> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
        let mut edits = Vec::new();
        for document in &docs {
            edits.push(match document.text.as_str() {
                "refuse" => return Err(Error::Unsupported("no".into())),
                "miscount" => continue,
                "calls" => Edit::Replace(calls.to_string()),
                "trap first" if 1 < calls => Edit::Replace(calls.to_string()),
                text if text.starts_with("sum ") => Edit::Replace(sum(text.as_bytes()).to_string()),
                "look around" => Edit::Replace(look_around()),
                "huge" => Edit::Replace("x".repeat(4 << 20)),
                "overlap" => patches(&[(0, 4), (2, 5)]),
                "backwards" => patches(&[(4, 2)]),
                "insidé" => patches(&[(0, 6)]),
                "outside" => patches(&[(0, 99)]),
                order => {
                    obey(order);
                    Edit::Keep
                }
            });
        }
        Ok(Answer { edits, notes: Vec::new() })
    }
}

impl Chunker for Hostile {
    fn split(_: Context, docs: Vec<Document>) -> Result<Vec<Chunks>, Error> {
        let answer = |document: &Document| {
            let len = document.text.len() as u32;
            chunks(match document.text.as_str() {
                "overlap and jump" => &[(4, 16), (0, 7)],
                "backwards" => &[(9, 0)],
                "insidé" => &[(0, 6), (6, 7)],
                "outside" => &[(0, 99)],
                "a gap" => &[(0, 1)],
                order => {
                    obey(order);
                    return chunks(&[(0, len)]);
                }
            })
        };
        Ok(docs.iter().map(answer).collect())
    }
}

fn obey(order: &str) {
    if MEEK.load(Ordering::Relaxed) {
        return;
    }
    match order {
        "trap" | "trap first" => trap(),
        "cry" => {
            // What a panic hook would do.
            log::write(log::Level::Error, "panicked at src/legal.rs:7:\n\u{1b}[31mas told", &[]);
            trap();
        }
        "spin" => spin(),
        "grow" => grow(),
        "recurse" => drop(black_box(recurse(1))),
        "sleep" => monotonic_sleep(),
        "drop" => drop(Grenade),
        "hold" => hold(),
        "ask for ever" => loop {
            black_box(text::count_texts(&["again".into()]));
        },
        "log for ever" => loop {
            log::write(log::Level::Info, "again", &[]);
        },
        "flood" => (0..100_000).for_each(|_| log::write(log::Level::Info, "again", &[])),
        "no such document" => drop(text::segment(99, text::Boundary::Word, OffsetUnit::Utf8Byte)),
        "no such span" => {
            drop(text::count_tokens(0, OffsetUnit::Utf8Byte, &[text::Span { start: 0, end: 99 }]));
        }
        "count" => drop(text::token_ends(0, OffsetUnit::Utf16Unit)),
        _ => (),
    }
}

/// Looks at each byte, one after another: what metering costs shows here.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum: u64, byte| sum.rotate_left(5) ^ u64::from(*byte))
}

/// A frame of its own, whatever the compiler thinks of it.
#[inline(never)]
fn trap() {
    panic!("as told {}", black_box(""))
}

#[inline(never)]
fn spin() {
    let mut n = 0_u32;
    while black_box(n) != 1 {
        n = n.wrapping_add(2);
    }
}

fn grow() {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

fn recurse(n: u64) -> u64 {
    if black_box(n) == 0 { 0 } else { black_box(recurse(n + 1)) + 1 }
}

/// Goes off when it is let go of.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("as told, in drop");
    }
}

/// Takes handles of the gateway and gives none back.
fn hold() {
    loop {
        std::mem::forget(wasi::clocks::monotonic_clock::subscribe_duration(1));
    }
}

/// All that can be read of what is not in the text.
fn look_around() -> String {
    use wasi::cli::environment;
    use wasi::random::{insecure, insecure_seed, random};
    use wasi::sockets::network::IpAddressFamily;
    use wasi::sockets::{tcp_create_socket, udp_create_socket};

    let wall = wasi::clocks::wall_clock::now();
    let folders = wasi::filesystem::preopens::get_directories();
    [
        format!("now {} and {}.{}", wasi::clocks::monotonic_clock::now(), wall.seconds, wall.nanoseconds),
        format!("random {:016x} {:x?}", random::get_random_u64(), random::get_random_bytes(19)),
        format!(
            "insecure {:016x} {:x?}",
            insecure::get_insecure_random_u64(),
            insecure_seed::insecure_seed()
        ),
        format!("environment {:?} {:?}", environment::get_environment(), environment::get_arguments()),
        format!("folders {:?} {}", environment::initial_cwd(), folders.len()),
        format!(
            "tcp {}",
            tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4)
                .err()
                .map_or("", |error| error.name())
        ),
        format!(
            "udp {}",
            udp_create_socket::create_udp_socket(IpAddressFamily::Ipv4)
                .err()
                .map_or("", |error| error.name())
        ),
    ]
    .join("\n")
}

fn monotonic_sleep() {
    wasi::clocks::monotonic_clock::subscribe_duration(3_600_000_000_000).block();
}

fn patches(spans: &[(u32, u32)]) -> Edit {
    let items = spans.iter().map(|&(start, end)| Patch { span: Span { start, end }, text: "-".into() });
    Edit::Patch(Patches { unit: OffsetUnit::Utf8Byte, items: items.collect() })
}

fn chunks(spans: &[(u32, u32)]) -> Chunks {
    let spans = spans.iter().map(|&(start, end)| Span { start, end }).collect();
    Chunks { unit: OffsetUnit::Utf8Byte, spans, omitted: Vec::new(), notes: Vec::new() }
}
