//! A wall between a runner and its engine: passes every request on, and can stop the world at one of those
//! that change something, or change what the engine is told.
//!
//! Each request has a connection of its own here (`Connection: close`, RFC 9112, section 9.6), so its head
//! is all that has to be understood.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// Where the world stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Before the request that has this number reaches the engine.
    Before(usize),
    /// After the engine has answered it, before the runner hears.
    After(usize),
}

/// How a lying engine changes what it is told: a container's description, before the engine sees it.
pub type Lie = fn(&mut Value);

/// A wall between a runner and its engine.
#[derive(Debug)]
pub struct Wall {
    shared: Arc<Shared>,
    folder: TempDir,
}

struct Shared {
    engine: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
    lie: Option<Lie>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

#[derive(Debug, Default)]
struct State {
    /// Requests that change something, as `POST /containers/create`.
    seen: Vec<String>,
    stop: Option<Stop>,
    is_stopped: bool,
    /// Grows with each release; who was stopped before is let go.
    age: u32,
}

impl Wall {
    /// A wall before an engine, and perhaps a lie about it.
    pub fn build(engine: &Path, lie: Option<Lie>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
        let shared = Arc::new(Shared {
            engine: engine.to_owned(),
            state: Mutex::default(),
            changed: Condvar::new(),
            lie,
        });
        let serving = Arc::clone(&shared);
        // Ends with the test program.
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let shared = Arc::clone(&serving);
                // Where a connection breaks, both sides see it.
                std::thread::spawn(move || pass(&shared, client));
            }
        });
        Self { shared, folder }
    }

    /// The socket that runners use.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// The requests that changed something.
    pub fn seen(&self) -> Vec<String> {
        self.lock().seen.clone()
    }

    /// Stops the world at a request to come.
    pub fn stop_at(&self, stop: Stop) {
        self.lock().stop = Some(stop);
    }

    /// Waits until the world has stopped; false where it does not within a time.
    pub fn wait_until_stopped(&self, limit: Duration) -> bool {
        let state = self.lock();
        let (state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, limit, |state| !state.is_stopped)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_stopped
    }

    /// Lets the world go on; what was stopped is lost.
    pub fn release(&self) {
        let mut state = self.lock();
        state.stop = None;
        state.is_stopped = false;
        state.age += 1;
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request; its number.
    fn count(&self, what: String) -> usize {
        let mut state = self.lock();
        state.seen.push(what);
        state.seen.len() - 1
    }

    /// Stops here where that is asked for; true: what was being done is lost.
    fn stop_here(&self, here: Stop) -> bool {
        let mut state = self.lock();
        if state.stop != Some(here) {
            return false;
        }
        state.is_stopped = true;
        let age = state.age;
        self.changed.notify_all();
        let _state = self
            .changed
            .wait_while(state, |state| state.age == age)
            .unwrap_or_else(PoisonError::into_inner);
        true
    }
}

fn pass(shared: &Shared, mut client: UnixStream) -> io::Result<()> {
    let (head, mut rest) = read_head(&mut client)?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    let mut words = line.split(' ');
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let place = path.split('?').next().unwrap_or_default();
    let is_change = ["POST", "PUT", "DELETE"].contains(&method) && !place.ends_with("/wait");
    let number = is_change.then(|| shared.count(format!("{method} {place}")));
    if number.is_some_and(|number| shared.stop_here(Stop::Before(number))) {
        return Ok(());
    }
    let mut head = head;
    if let Some(lie) = shared.lie.filter(|_| place.ends_with("/containers/create")) {
        (head, rest) = tell_lie(&head, rest, &mut client, lie)?;
    }
    if !head.to_ascii_lowercase().contains("\r\nconnection:") {
        head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    }
    let mut engine = UnixStream::connect(&shared.engine)?;
    engine.write_all(head.as_bytes())?;
    engine.write_all(&rest)?;
    let (mut from, mut to) = (client.try_clone()?, engine.try_clone()?);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    if let Some(number) = number
        && shared.lock().stop == Some(Stop::After(number))
    {
        let mut answer = Vec::new();
        engine.read_to_end(&mut answer)?;
        shared.stop_here(Stop::After(number));
        return Ok(());
    }
    io::copy(&mut engine, &mut client)?;
    client.shutdown(Shutdown::Both)
}

/// Reads up to the empty line; what came behind it.
fn read_head(stream: &mut UnixStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend(&chunk[..read]),
        }
    }
}

fn tell_lie(
    head: &str,
    mut body: Vec<u8>,
    client: &mut UnixStream,
    lie: Lie,
) -> io::Result<(String, Vec<u8>)> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().unwrap())
    });
    let missing = length.unwrap() - body.len();
    let mut rest = vec![0; missing];
    client.read_exact(&mut rest)?;
    body.extend(rest);
    let mut value: Value = serde_json::from_slice(&body)?;
    lie(&mut value);
    let body = value.to_string().into_bytes();
    let lines = head.lines().filter(|line| {
        !line.to_ascii_lowercase().starts_with("content-length") && !line.is_empty()
    });
    let lines: Vec<&str> = lines.collect();
    Ok((
        format!(
            "{}\r\nContent-Length: {}\r\n\r\n",
            lines.join("\r\n"),
            body.len()
        ),
        body,
    ))
}
