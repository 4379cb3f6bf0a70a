//! etcd, as a store for a test.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::error::Wrap;
use crate::lab::folder::Folder;
use crate::lab::process::Process;
use crate::lab::{Error, Lab, Result};

/// It takes 0.3 s here; to elect itself anew after a kill it waits up to two seconds.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How long one question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// One member of etcd that is a cluster by itself. It ends when this is dropped.
#[derive(Debug)]
pub struct Etcd {
    // It ends before its folder goes.
    process: Process,
    client: SocketAddr,
    peer: SocketAddr,
    folder: Folder,
}

impl Etcd {
    /// Starts etcd with an empty store and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not start, with the end of what it said.
    pub fn start() -> Result<Etcd> {
        let folder = Folder::new()?;
        // Both are held until both are known, so that they differ.
        let ports = [free_port()?, free_port()?];
        let [client, peer] = ports.map(|(_, address)| address);
        let process = start_process(client, peer, &folder)?;
        let mut etcd = Etcd {
            process,
            client,
            peer,
            folder,
        };
        etcd.wait_until_healthy()?;
        Ok(etcd)
    }

    /// The address for clients, for example `http://127.0.0.1:40001`; it stays over restarts.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.client)
    }

    /// Ends it as a crash would (SIGKILL). What it has stored stays for [`Etcd::restart`].
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same data and the same address, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not start, with the end of what it said.
    pub fn restart(&mut self) -> Result<()> {
        self.process.kill();
        self.process = start_process(self.client, self.peer, &self.folder)?;
        self.wait_until_healthy()
    }

    /// Stops it without ending it (SIGSTOP): connections stay, and nobody answers.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn freeze(&mut self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// When it has ended.
    pub fn thaw(&mut self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Whether it answers now and says that it is well.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        ask(self.client, "/health").is_ok_and(|answer| answer.contains(r#""health":"true""#))
    }

    fn wait_until_healthy(&mut self) -> Result<()> {
        let end = Instant::now() + START_LIMIT;
        while !self.is_healthy() {
            if self.process.has_ended() || Instant::now() > end {
                self.folder.keep();
                let error = Error::new("etcd does not answer");
                return Err(error.with_logs(self.folder.path()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn start_process(client: SocketAddr, peer: SocketAddr, folder: &Folder) -> Result<Process> {
    let mut command = Command::new(Lab::image()?.file("engines/bin/etcd"));
    command
        .args(["--name", "test", "--log-level", "warn", "--data-dir"])
        .arg(folder.path().join("data"))
        .arg(format!("--initial-cluster=test=http://{peer}"));
    for option in ["listen-client-urls", "advertise-client-urls"] {
        command.arg(format!("--{option}=http://{client}"));
    }
    for option in ["listen-peer-urls", "initial-advertise-peer-urls"] {
        command.arg(format!("--{option}=http://{peer}"));
    }
    Process::start_command(&command, &folder.path().join("stderr"))
}

/// A port that nobody has. Someone else may take it before etcd does, and then etcd says so.
fn free_port() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).wrap("find a free port")?;
    let address = listener.local_addr().wrap("find a free port")?;
    Ok((listener, address))
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
