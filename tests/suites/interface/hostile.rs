//! Whatever is sent, a host answers with a reason that is the sender's, and goes on. What is sent is made
//! from the host's own description: what each operation takes, with every part of it made wrong in turn.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::{Map, Value, json};
use vfioctl_host::api::policy::{Permission, RULES};
use vfioctl_tests::cluster::{Answer, ClusterHost, StoreOf, Wire};
use vfioctl_tests::suite;

/// How deep a sample of a schema goes: types that hold themselves end there.
const MAX_DEPTH: usize = 8;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        suite::trial("hostile_bodies_are_refused", hostile_bodies),
        suite::trial("hostile_names_and_questions_are_refused", hostile_names),
        suite::trial("hostile_http_is_refused", hostile_http),
        suite::trial("connections_that_say_nothing_keep_nobody_out", silence),
    ]
}

/// An operation of the description.
struct Operation {
    method: String,
    path: String,
    body: Option<Value>,
    questions: Vec<String>,
    permission: Permission,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let rule = RULES
                .iter()
                .find(|rule| rule.path == path && rule.method == method);
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let questions = parameters.filter(|parameter| parameter["in"] == "query");
            all.push(Operation {
                path: path.clone(),
                permission: rule.unwrap().permission,
                body: (!body.is_null()).then(|| body.clone()),
                questions: questions
                    .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                    .collect(),
                method,
            });
        }
    }
    all
}

/// A host, and a way to it as whoever may use an operation.
struct Target {
    host: ClusterHost,
    document: Value,
    user: Wire,
    node: Wire,
    asked: usize,
    statuses: BTreeMap<u16, usize>,
}

impl Target {
    fn make() -> Self {
        let host = ClusterHost::start(&StoreOf::File);
        let document = host.ask("GET", "/v1/openapi.json", &Value::Null);
        let node = host.join("node1");
        Self {
            user: host.wire(),
            node: host.wire_of(&node.identity),
            document,
            host,
            asked: 0,
            statuses: BTreeMap::new(),
        }
    }

    fn ask(&mut self, operation: &Operation, path: &str, body: &[u8]) {
        let token = self.host.admin().to_owned();
        // Streams of events have no end; the head of the answer tells enough.
        let is_endless = operation.path.ends_with("/events");
        let method = match is_endless {
            true => "HEAD",
            false => &operation.method,
        };
        let (wire, token) = match operation.permission {
            Permission::Node => (&mut self.node, None),
            _ => (&mut self.user, Some(token.as_str())),
        };
        let answer = wire.ask(method, path, token, body);
        self.note(&answer, &format!("{method} {path}"), body);
    }

    /// More than any route takes: the host need not read it all, so the connection may end under it.
    fn send_too_much(&mut self, operation: &Operation, path: &str) {
        const LENGTH: usize = 5 << 20;
        let method = &operation.method;
        let token = self.host.admin();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {LENGTH}\r\n\r\n"
        );
        let bytes = [head.into_bytes(), vec![b' '; LENGTH]].concat();
        if let Ok(answer) = self.host.wire().send(&bytes) {
            assert_eq!(answer.status / 100, 4, "{}", answer.text());
        }
    }

    fn note(&mut self, answer: &Answer, what: &str, body: &[u8]) {
        self.asked += 1;
        *self.statuses.entry(answer.status).or_default() += 1;
        let body = String::from_utf8_lossy(body);
        let body: String = body.chars().take(300).collect();
        assert!(
            answer.status < 500,
            "{what} {body}: {} {}",
            answer.status,
            answer.text()
        );
        assert_ne!(
            answer.code(),
            "internal",
            "{what} {body}: {}",
            answer.text()
        );
    }

    fn end(mut self) {
        let log = self.host.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(self.host.is_running(), "{log}");
        // Everybody else is answered as before.
        self.host.ask("GET", "/v1/summary", &Value::Null);
        eprintln!("{} requests: {:?}", self.asked, self.statuses);
    }
}

fn hostile_bodies() {
    let mut target = Target::make();
    let document = target.document.clone();
    for operation in operations(&document) {
        let path = usual_path(&operation.path);
        let Some(schema) = &operation.body else {
            target.ask(&operation, &path, b"{\"unasked\": true}");
            continue;
        };
        let sample = sample(&document, schema, 0);
        for body in raw_bodies() {
            target.ask(&operation, &path, &body);
        }
        target.send_too_much(&operation, &path);
        for body in wrong_bodies(&sample) {
            target.ask(&operation, &path, body.to_string().as_bytes());
        }
    }
    assert!(target.asked > 1000, "{}", target.asked);
    target.end();
}

/// A path whose names are well made, of things that are not there.
fn usual_path(path: &str) -> String {
    path.replace("{task}", "0000000000000")
        .replace("{node}", "nowhere")
        .replace("{user}", "nobody")
        .replace("{token}", "nothing")
        .replace("{stream}", "nothing")
}

/// Bodies that are no JSON, or no good one.
fn raw_bodies() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        b"{".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        b"null".to_vec(),
        b"{\"a\":1,\"a\":2}".to_vec(),
        b"[[[[[[[[[[[[[[[[[[[[".to_vec(),
        vec![b'['; 200_000],
        b"{\"a\":1e99999}".to_vec(),
        b"\"\\ud800\"".to_vec(),
        [b"{\"name\":\"".as_slice(), &vec![b'a'; 900_000], b"\"}"].concat(),
    ]
}

/// A value that fits a schema, with every field there is.
fn sample(document: &Value, schema: &Value, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    if let Some(path) = schema["$ref"].as_str() {
        let inner = document.pointer(path.trim_start_matches('#')).unwrap();
        return sample(document, inner, depth + 1);
    }
    for many in ["oneOf", "anyOf"] {
        if let Some(first) = schema[many]
            .as_array()
            .and_then(|all| all.iter().find(|one| one["type"] != "null"))
        {
            return sample(document, first, depth + 1);
        }
    }
    if let Some(all) = schema["allOf"].as_array() {
        let mut whole = Map::new();
        for one in all {
            if let Value::Object(fields) = sample(document, one, depth + 1) {
                whole.extend(fields);
            }
        }
        return Value::Object(whole);
    }
    if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
        return first.clone();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().cloned().unwrap_or_default(),
        kind => kind.clone(),
    };
    match kind.as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let fields =
                fields.map(|(name, inner)| (name.clone(), sample(document, inner, depth + 1)));
            Value::Object(fields.collect())
        }
        Some("array") => json!([sample(document, &schema["items"], depth + 1)]),
        Some("string") => json!("a"),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        _ => Value::Null,
    }
}

/// The sample, and the sample with one part of it made wrong, for every part.
fn wrong_bodies(sample: &Value) -> Vec<Value> {
    let long = "x".repeat(70_000);
    let many: Vec<u32> = (0..5000).collect();
    let hostile = [
        json!(null),
        json!(true),
        json!(-1),
        json!(u64::MAX),
        json!(1e300),
        json!(""),
        json!(" "),
        json!(".."),
        json!("../../etc/passwd"),
        json!("a\u{0}b"),
        json!("\u{1b}[2J\r\n"),
        json!("\u{202e}ab\u{1f600}"),
        json!("'; DROP TABLE tasks; --"),
        json!("node::99999,0-4294967295"),
        json!(long),
        json!([]),
        json!([[[[]]]]),
        json!(many),
        json!({}),
        json!({"$ref": "#", "__proto__": {}}),
    ];
    let mut bodies = vec![sample.clone()];
    for pointer in pointers(sample, String::new()) {
        for value in &hostile {
            let mut body = sample.clone();
            if let Some(place) = body.pointer_mut(&pointer) {
                *place = value.clone();
            }
            bodies.push(body);
        }
        if let Some((parent, name)) = pointer.rsplit_once('/') {
            let mut body = sample.clone();
            if let Some(Value::Object(fields)) = body.pointer_mut(parent) {
                fields.remove(name);
                bodies.push(body.clone());
            }
            if let Some(Value::Object(fields)) = body.pointer_mut(parent) {
                fields.insert("unasked".into(), json!(1));
                bodies.push(body);
            }
        }
    }
    bodies
}

/// The places of everything in a value.
fn pointers(value: &Value, at: String) -> Vec<String> {
    let mut all = vec![at.clone()];
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                all.extend(pointers(inner, format!("{at}/{name}")));
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                all.extend(pointers(inner, format!("{at}/{index}")));
            }
        }
        _ => {}
    }
    all
}

fn hostile_names() {
    let mut target = Target::make();
    let long = "a".repeat(5000);
    let words = [
        "..",
        "%2e%2e",
        "%2e%2e%2f%2e%2e",
        "%00",
        "%ff%fe",
        "%",
        "%zz",
        "%0d%0aset-cookie:x",
        "-1",
        "18446744073709551616",
        "'",
        "%F0%9F%98%80",
        "%E2%80%AE",
        "*",
        "a%20b",
        "A",
        &long,
    ];
    let values = [
        "",
        "-1",
        "0",
        "18446744073709551616",
        "1e9",
        "true",
        "%00",
        "%ff",
        "..",
        "x&x=y",
        "[]",
        &long,
    ];
    for operation in operations(&target.document.clone()) {
        for word in words {
            let mut path = operation.path.clone();
            for name in ["{task}", "{node}", "{user}", "{token}", "{stream}"] {
                path = path.replace(name, word);
            }
            if path != operation.path {
                target.ask(&operation, &path, b"{}");
                target.ask(&operation, &format!("{path}/"), b"{}");
            }
        }
        let path = usual_path(&operation.path);
        for value in values {
            for name in operation
                .questions
                .iter()
                .map(String::as_str)
                .chain(["unasked"])
            {
                target.ask(&operation, &format!("{path}?{name}={value}"), b"{}");
            }
        }
    }
    assert!(target.asked > 500, "{}", target.asked);
    target.end();
}

fn hostile_http() {
    let mut target = Target::make();
    let header = "x: y\r\n".repeat(500);
    let long = "y".repeat(100_000);
    let heads: Vec<String> = vec![
        "GET /v1/me HTTP/1.1\r\n\r\n".into(),
        "GET /v1/me HTTP/9.9\r\nhost: h\r\n\r\n".into(),
        "GET  /v1/me HTTP/1.1\r\nhost: h\r\n\r\n".into(),
        "BREW /v1/me HTTP/1.1\r\nhost: h\r\n\r\n".into(),
        "GET http://other/v1/me HTTP/1.1\r\nhost: h\r\n\r\n".into(),
        "CONNECT other:443 HTTP/1.1\r\nhost: h\r\n\r\n".into(),
        "OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n".into(),
        "GET /v1/me HTTP/1.1\r\nhost: h\r\nauthorization: Bearer\r\n\r\n".into(),
        "GET /v1/me HTTP/1.1\r\nhost: h\r\nauthorization: Basic YTpi\r\n\r\n".into(),
        "GET /v1/me HTTP/1.1\r\nhost: h\r\nauthorization: Bearer \x7f\r\n\r\n".into(),
        format!("GET /v1/me HTTP/1.1\r\nhost: h\r\n{header}\r\n"),
        format!("GET /v1/me HTTP/1.1\r\nhost: h\r\nx: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nhost: h\r\n\r\n"),
        "POST /v1/tasks HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde".into(),
        "POST /v1/tasks HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n".into(),
        "POST /v1/tasks HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999999999999\r\n\r\n".into(),
        "POST /v1/tasks HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".into(),
        "POST /v1/tasks HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip\r\n\r\n".into(),
        "POST /v1/runner/enrol HTTP/1.1\r\nhost: h\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}".into(),
        "\x16\x03\x01".into(),
        "\r\n\r\n".into(),
    ];
    for head in heads {
        let mut wire = target.host.wire();
        // Closed without a word is an answer, too.
        if let Ok(answer) = wire.send(head.as_bytes()) {
            let line = head.lines().next().unwrap_or_default().chars().take(80);
            target.note(&answer, &line.collect::<String>(), b"");
        }
    }
    // What is no TLS at all.
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 100],
        &[0x16, 3, 1, 0xff, 0xff],
    ] {
        let mut stream = TcpStream::connect(target.host.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let _ = stream.take(4096).read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    target.end();
}

/// Many connections that never say anything: whoever comes after them is answered at once.
fn silence() {
    let host = ClusterHost::start(&StoreOf::File);
    let address = host.address();
    let silent: Vec<TcpStream> = (0..300)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let start = Instant::now();
    host.ask("GET", "/v1/me", &Value::Null);
    // Not a measurement: the host's own limit on a handshake is what it must not wait for.
    assert!(start.elapsed() < Duration::from_secs(9));
    // And they do not stay for ever.
    let mut first = silent.into_iter().next().unwrap();
    first
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut byte = [0];
    assert_eq!(first.read(&mut byte).unwrap_or(0), 0);
}
