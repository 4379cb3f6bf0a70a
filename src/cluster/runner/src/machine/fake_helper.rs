//! A helper for tests: it answers as the real one does, and starts nothing. It can be told to say no, to
//! break off, and to wait.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use serde_json::{Value, json};
use vfioctl_protocol::{LEVEL, base64};

/// A helper for tests; it ends with the process.
#[derive(Debug)]
pub(super) struct FakeHelper {
    pub(super) socket: PathBuf,
    shared: Arc<Shared>,
    _folder: tempfile::TempDir,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// What it has, and what it shall do.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) machines: BTreeMap<String, FakeMachine>,
    /// The methods that were called, in order.
    pub(super) calls: Vec<String>,
    /// What it does at a `Create`.
    pub(super) create: OnCreate,
    /// It says no to a `Plan`, for this reason.
    pub(super) refuses_plan: Option<&'static str>,
    /// Devices do not come home.
    pub(super) is_not_home: bool,
    /// The call to which it gives no answer as long as this stands, and whether it does what it was asked.
    pub(super) silent_at: Option<(usize, bool)>,
}

/// What it does at a `Create`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum OnCreate {
    #[default]
    Run,
    Refuse,
    Fail,
    /// It makes the machine, and breaks off.
    BreakOff,
    /// QEMU starts until it is ended.
    Start,
}

/// A machine that it has.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FakeMachine {
    pub(super) state: &'static str,
    pub(super) spec: Value,
    pub(super) ended: Option<String>,
    pub(super) console: Vec<u8>,
}

impl FakeHelper {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("helper.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        Self {
            socket,
            shared,
            _folder: folder,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }

    /// It says nothing more, from a call on, or breaks off what it has not answered.
    pub(super) fn be_silent(&self, at: Option<(usize, bool)>) {
        self.state().silent_at = at;
        self.shared.changed.notify_all();
    }

    /// A machine ends by itself.
    pub(super) fn ends(&self, name: &str, how: &str) {
        let mut state = self.state();
        let machine = state.machines.get_mut(name).unwrap();
        machine.state = "stopped";
        machine.ended = Some(how.to_owned());
        self.shared.changed.notify_all();
    }
}

fn serve(mut stream: UnixStream, shared: &Shared) {
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        received.extend(&chunk[..count]);
        while let Some(end) = received.iter().position(|byte| *byte == 0) {
            let request: Value = serde_json::from_slice(&received[..end]).unwrap();
            received.drain(..=end);
            let Some(replies) = answer(&request, shared, &mut stream) else {
                return;
            };
            send(&mut stream, &replies);
        }
    }
}

fn send(stream: &mut UnixStream, reply: &Value) {
    let bytes = [reply.to_string().into_bytes(), vec![0]].concat();
    // Whoever asked may be gone.
    let _ = stream.write_all(&bytes);
}

fn error(name: &str, parameters: Value) -> Value {
    json!({"error": format!("io.vfioctl.Machine.{name}"), "parameters": parameters})
}

fn refused(reason: &str) -> Value {
    let parameters =
        json!({"reason": reason, "message": format!("no: {reason}"), "hint": "mend it"});
    error("Refused", parameters)
}

fn failed() -> Value {
    let message = "QEMU ended while it started";
    error(
        "Failed",
        json!({"message": message, "hint": "", "undone": true}),
    )
}

/// The answer to a request; none: it breaks off.
fn answer(request: &Value, shared: &Shared, stream: &mut UnixStream) -> Option<Value> {
    let method = request["method"].as_str().unwrap();
    let short = method.rsplit('.').next().unwrap();
    if short == "GetVersion" {
        return Some(json!({"parameters": {"version": "1.2.3", "level": LEVEL}}));
    }
    let mut state = shared.state.lock().unwrap();
    state.calls.push(short.to_owned());
    shared.changed.notify_all();
    let at = state.calls.len() - 1;
    let silent = state.silent_at.filter(|(from, _)| at >= *from);
    let Some((from, does)) = silent else {
        return handle(short, &request["parameters"], state, shared, stream);
    };
    if does && at == from {
        let _ = handle(short, &request["parameters"], state, shared, stream);
    } else {
        drop(state);
    }
    let state = shared.state.lock().unwrap();
    let is_silent = |state: &mut State| state.silent_at.is_some();
    drop(shared.changed.wait_while(state, is_silent).unwrap());
    None
}

fn handle(
    method: &str,
    parameters: &Value,
    mut state: MutexGuard<'_, State>,
    shared: &Shared,
    stream: &mut UnixStream,
) -> Option<Value> {
    let name = parameters["name"].as_str().unwrap_or_default().to_owned();
    let known = state.machines.get(&name).cloned();
    let missing = || {
        Some(error(
            "NoSuchMachine",
            json!({"name": name, "message": "none"}),
        ))
    };
    match (method, known) {
        ("List", _) => {
            let machines: Vec<Value> = state.machines.iter().map(info).collect();
            Some(json!({"parameters": {"machines": machines}}))
        }
        ("Recover", _) => Some(json!({"parameters": {"recovered": []}})),
        ("Plan", _) => Some(match state.refuses_plan {
            Some(reason) => refused(reason),
            None => json!({"parameters": {"arguments": [], "steps": [], "start_timeout_s": 30}}),
        }),
        ("Create", _) => create(&parameters["spec"], state, shared, stream),
        (_, None) => missing(),
        ("Show", Some(machine)) => {
            Some(json!({"parameters": {"machine": info((&name, &machine))}}))
        }
        ("Stop", Some(machine)) => {
            let how = match (machine.state, parameters["how"].as_str()) {
                (_, Some("quit")) => "it was told to quit",
                ("starting", _) => return Some(refused("Starting")),
                _ => "the guest powered off",
            };
            match machine.state {
                // Whoever starts it sees that, and answers.
                "starting" => drop(state.machines.remove(&name)),
                "stopped" => {}
                _ => {
                    let machine = state.machines.get_mut(&name).unwrap();
                    machine.state = "stopped";
                    machine.ended = Some(how.to_owned());
                }
            }
            shared.changed.notify_all();
            Some(json!({"parameters": {}}))
        }
        ("Remove", Some(machine)) => {
            if machine.state != "stopped" {
                return Some(refused("Running"));
            }
            if state.is_not_home {
                return Some(refused("NotHome"));
            }
            state.machines.remove(&name);
            Some(json!({"parameters": {}}))
        }
        ("ReadLog", Some(machine)) => {
            let log = match parameters["of"].as_str() {
                Some("console") => machine.console,
                _ => b"qemu: it said so\n".to_vec(),
            };
            let offset = usize::try_from(parameters["offset"].as_u64().unwrap()).unwrap();
            let start = if offset > log.len() { 0 } else { offset };
            // In small parts, as a long log would come.
            let end = log.len().min(start + 7);
            Some(json!({"parameters": {
                "data": base64::encode(&log[start..end]), "next": end, "end": end == log.len(),
            }}))
        }
        (other, _) => panic!("{other} is not known"),
    }
}

fn create(
    spec: &Value,
    mut state: MutexGuard<'_, State>,
    shared: &Shared,
    stream: &mut UnixStream,
) -> Option<Value> {
    let name = spec["name"].as_str().unwrap().to_owned();
    let machine = FakeMachine {
        state: "running",
        spec: spec.clone(),
        ended: None,
        console: b"Linux version 6.1\n".to_vec(),
    };
    if state.machines.contains_key(&name) {
        return Some(error(
            "MachineExists",
            json!({"name": name, "message": "twice"}),
        ));
    }
    match state.create {
        OnCreate::Refuse => return Some(refused("Claimed")),
        OnCreate::Fail => return Some(failed()),
        OnCreate::Run | OnCreate::BreakOff => {}
        OnCreate::Start => {
            let state_name = "starting";
            let starting = FakeMachine {
                state: state_name,
                ..machine
            };
            state.machines.insert(name.clone(), starting);
            shared.changed.notify_all();
            let progress = json!({"parameters": {"progress": "pinning"}, "continues": true});
            send(stream, &progress);
            let is_there = |state: &mut State| state.machines.contains_key(&name);
            drop(shared.changed.wait_while(state, is_there).unwrap());
            return Some(failed());
        }
    }
    let told = info((&name, &machine));
    let breaks_off = state.create == OnCreate::BreakOff;
    state.machines.insert(name, machine);
    (!breaks_off).then(|| json!({"parameters": {"machine": told}}))
}

fn info((name, machine): (&String, &FakeMachine)) -> Value {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let mut info = json!({
        "name": name, "uid": 1000, "state": machine.state, "since": since.as_secs(),
        "devices_home": [], "spec": machine.spec,
    });
    if let Some(ended) = &machine.ended {
        info["ended"] = json!(ended);
        info["devices_home"] = json!(["0000:01:00.0 is back with amdgpu"]);
    }
    info
}
