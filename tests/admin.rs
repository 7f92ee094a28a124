//! Metrics and health over a real socket.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Duration,
};

use mainstem::{
    admin::{AdminServer, Collecting, Family, MetricsSource, Snapshot, Top, TopicRate, serve},
    base::{Stage, Stages},
    config::{Admin, Config},
};

#[derive(Default)]
struct Broker {
    trouble: Mutex<Option<String>>,
    stuck: bool,
}

impl MetricsSource for Broker {
    fn collect(&self) -> Collecting<'_> {
        Box::pin(async {
            if self.stuck {
                std::future::pending::<()>().await;
            }
            let mut stages = Stages::default();
            stages.record(Stage::Write, Duration::from_micros(60));
            let mut snapshot = Snapshot::default();
            snapshot.push(Family::stages(&stages));
            let records = Family::counter("produced_records_total", "Records appended.");
            snapshot.push(records.count(&[("shard", "0")], 12));
            snapshot
        })
    }

    fn top(&self) -> Collecting<'_, Top> {
        Box::pin(async {
            if self.stuck {
                std::future::pending::<()>().await;
            }
            let topic = "orders".to_owned();
            let topics = vec![TopicRate { topic, messages_per_s: 2.5, messages: 9 }];
            Top { window_s: 1.0, topics, groups: Vec::new() }
        })
    }

    fn ready(&self) -> Result<(), String> {
        self.trouble.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

fn start(broker: Arc<Broker>, config: &Admin) -> AdminServer {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    serve(listener, broker, config).unwrap()
}

fn limits(max_connections: u32, timeout_ms: u64) -> Admin {
    Admin { max_connections, timeout_ms, ..Config::default().admin }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Everything the server says until it closes; a reset ends it as well.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(bytes).unwrap(),
    }
}

fn ask(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let answer = rest(&mut stream);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    (head.to_lowercase(), body.to_owned())
}

#[test]
fn metrics_are_in_prometheus_text() {
    let server = start(Arc::default(), &Config::default().admin);
    let (head, body) = ask(server.address(), "/metrics");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    for line in [
        "# TYPE mainstem_stage_seconds histogram",
        "mainstem_stage_seconds_bucket{stage=\"write\",le=\"0.0001\"} 1",
        "mainstem_stage_seconds_sum{stage=\"write\"} 0.00006",
        "mainstem_stage_seconds_count{stage=\"fetch_wait\"} 0",
        "mainstem_produced_records_total{shard=\"0\"} 12",
        "# TYPE mainstem_process_cpu_seconds_total counter",
    ] {
        assert!(body.lines().any(|found| found == line), "{line}: {body}");
    }
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
    }
}

#[test]
fn the_busiest_are_in_json() {
    let server = start(Arc::default(), &Config::default().admin);
    let (head, body) = ask(server.address(), "/top");
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: application/json"), "{head}");
    let topics = r#"[{"topic":"orders","messages_per_s":2.5,"messages":9}]"#;
    assert_eq!(body, format!(r#"{{"window_s":1.0,"topics":{topics},"groups":[]}}"#));
}

#[test]
fn ready_follows_the_log_and_health_does_not() {
    let broker = Arc::new(Broker::default());
    let server = start(Arc::clone(&broker), &Config::default().admin);
    let (head, body) = ask(server.address(), "/readyz");
    assert!(head.starts_with("http/1.1 200") && body == "ready\n", "{head} {body}");
    *broker.trouble.lock().unwrap() = Some("the log is stopped: a write failed".to_owned());
    let (head, body) = ask(server.address(), "/readyz");
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert_eq!(body, "the log is stopped: a write failed\n");
    let (head, body) = ask(server.address(), "/healthz");
    assert!(head.starts_with("http/1.1 200") && body == "ok\n", "{head} {body}");
    assert!(ask(server.address(), "/nothing").0.starts_with("http/1.1 404"));
}

#[test]
fn shards_that_do_not_answer_are_not_waited_for() {
    let broker = Broker { stuck: true, ..Broker::default() };
    let server = start(Arc::new(broker), &limits(32, 2_000));
    let (head, body) = ask(server.address(), "/metrics");
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert_eq!(body, "not all shards answered within 1 s\n");
    assert!(ask(server.address(), "/top").0.starts_with("http/1.1 503"));
}

#[test]
fn a_stuck_client_harms_nobody_and_is_dropped() {
    let server = start(Arc::default(), &limits(32, 2_000));
    let mut silent = connect(server.address());
    let mut halting = connect(server.address());
    halting.write_all(b"GET /metrics HT").unwrap();
    assert!(ask(server.address(), "/healthz").0.starts_with("http/1.1 200"));
    assert_eq!(rest(&mut silent), "");
    assert!(!rest(&mut halting).contains("200 OK"));
}

#[test]
fn connections_are_bounded_and_come_back() {
    let server = start(Arc::default(), &limits(2, 60_000));
    let open: Vec<_> = (0..2).map(|_| connect(server.address())).collect();
    let mut third = connect(server.address());
    assert_eq!(rest(&mut third), "", "closed at once");
    for mut stream in open {
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut stream), "");
    }
    let (head, _) = ask(server.address(), "/healthz");
    assert!(head.starts_with("http/1.1 200"), "places are given back: {head}");
}

#[test]
fn a_head_without_end_is_refused() {
    let server = start(Arc::default(), &limits(32, 5_000));
    let mut stream = connect(server.address());
    stream.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    let header = [b"X-Filler: ".as_slice(), &[b'x'; 8_000], b"\r\n"].concat();
    let refused = (0..1_000).any(|_| stream.write_all(&header).is_err());
    assert!(refused || !rest(&mut stream).contains("200 OK"));
    assert!(ask(server.address(), "/healthz").0.starts_with("http/1.1 200"));
}

#[test]
fn a_dropped_server_frees_its_port_at_once() {
    let server = start(Arc::default(), &limits(32, 60_000));
    let address = server.address();
    let mut waiting = connect(address);
    drop(server);
    assert_eq!(rest(&mut waiting), "");
    TcpStream::connect(address).unwrap_err();
}
