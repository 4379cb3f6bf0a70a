//! A caller that keeps no rules: bytes on the helper's socket, as any user.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Gid, Uid};
use serde_json::{Value, json};

use crate::fake::SOCKET_GROUP;
use crate::world::FakeWorld;

/// More than any answer takes; what comes later does not come.
const LIMIT: Duration = Duration::from_secs(60);

/// One connection.
#[derive(Debug)]
pub struct Raw {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Raw {
    /// Connects as a user who is in the group `vfioctl`.
    pub fn connect(socket: &Path, uid: u32) -> Self {
        let socket = socket.to_owned();
        // The kernel notes who connects, and identities belong to threads: one that ends after.
        let connecting = std::thread::spawn(move || {
            if uid != 0 {
                let (user, group) = (Uid::from_raw(uid), Gid::from_raw(SOCKET_GROUP));
                rustix::thread::set_thread_res_gid(group, group, group).unwrap();
                rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            }
            UnixStream::connect(socket).unwrap()
        });
        let stream = connecting.join().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        Self {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Where the other end has hung up.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends bytes, and lets the other end hang up on them.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.send(bytes);
    }

    /// Sends a request with its NUL.
    pub fn request(&mut self, request: &Value) {
        let mut bytes = request.to_string().into_bytes();
        bytes.push(0);
        self.send(&bytes).unwrap();
    }

    /// The next reply; `None` where the other end has hung up.
    ///
    /// # Panics
    /// Where nothing comes.
    pub fn reply(&mut self) -> Option<Value> {
        loop {
            if let Some(at) = self.received.iter().position(|byte| *byte == 0) {
                let rest = self.received.split_off(at + 1);
                let frame = std::mem::replace(&mut self.received, rest);
                return Some(serde_json::from_slice(&frame[..at]).unwrap());
            }
            let mut chunk = [0; 1 << 16];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(len) => self.received.extend(&chunk[..len]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no reply: {error}"),
            }
        }
    }

    /// Calls a method.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Option<Value> {
        self.request(&json!({"method": method, "parameters": parameters}));
        self.reply()
    }

    /// Whether the helper answers on this connection.
    pub fn is_answered(&mut self) -> bool {
        let request = json!({"method": "io.vfioctl.Inventory.GetVersion", "parameters": {}});
        let sent = self.send(&[request.to_string().as_bytes(), &[0]].concat());
        sent.is_ok()
            && self
                .reply()
                .is_some_and(|reply| reply["parameters"]["level"].is_i64())
    }

    /// Waits until the other end hangs up; what it says before is not looked at.
    ///
    /// # Panics
    /// Where it does not.
    pub fn wait_for_hang_up(&mut self) {
        while self.reply().is_some() {}
    }
}

/// Connects to a world's helper as a user.
pub fn connect(world: &FakeWorld, uid: u32) -> Raw {
    Raw::connect(&world.socket(), uid)
}

/// Makes sure that a user's calls are answered.
///
/// # Panics
/// Where they are not.
#[track_caller]
pub fn assert_answers(world: &FakeWorld, uid: u32) {
    assert!(connect(world, uid).is_answered(), "uid {uid} has no answer");
}
