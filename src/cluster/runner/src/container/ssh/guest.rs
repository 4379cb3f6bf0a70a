//! A guest: one client, from the key it shows to the sessions it asks for.
//!
//! Protocol: RFC 4252 (keys), RFC 4254 (sessions). Of what can be asked for, sessions are given and
//! everything else is refused: a container's network is not reached through its node.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use russh::keys::PublicKey;
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty, Sig};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::input::Input;
use super::process::{Control, Job, Room, run};
use super::throttle::Inputs;
use super::wish::Wish;
use crate::limits::{MAX_SSH_SESSIONS, MAX_SSH_VARIABLE_BYTES, MAX_SSH_VARIABLES};

/// A session that has a process.
struct Running {
    controls: mpsc::Sender<Control>,
    input: Arc<Input>,
}

/// One client.
pub(super) struct Guest {
    keys: Arc<[PublicKey]>,
    room: Arc<Room>,
    is_known: Arc<AtomicBool>,
    /// Its place among those who have not shown a key yet.
    stranger: Option<OwnedSemaphorePermit>,
    /// Sessions that have not said yet what they want.
    waiting: HashMap<ChannelId, (Channel<Msg>, Job)>,
    running: HashMap<ChannelId, Running>,
    inputs: Inputs,
}

impl Guest {
    pub(super) fn new(
        keys: Arc<[PublicKey]>,
        room: Arc<Room>,
        is_known: Arc<AtomicBool>,
        stranger: OwnedSemaphorePermit,
        inputs: Inputs,
    ) -> Self {
        Self {
            keys,
            room,
            is_known,
            stranger: Some(stranger),
            waiting: HashMap::new(),
            running: HashMap::new(),
            inputs,
        }
    }

    fn judge(&self, key: &PublicKey) -> Auth {
        match self
            .keys
            .iter()
            .any(|known| known.key_data() == key.key_data())
        {
            true => Auth::Accept,
            false => Auth::reject(),
        }
    }

    fn begin(
        &mut self,
        id: ChannelId,
        wish: Wish,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some((channel, mut job)) = self.waiting.remove(&id) else {
            return session.channel_failure(id);
        };
        let Some(place) = self.room.take_place() else {
            return session.channel_failure(id);
        };
        job.wish = wish;
        let (sender, controls) = mpsc::channel(16);
        let input = Arc::new(Input::default());
        self.inputs.add(&input);
        let running = Running {
            controls: sender,
            input: Arc::clone(&input),
        };
        self.running.insert(id, running);
        session.channel_success(id)?;
        let room = Arc::clone(&self.room);
        // What comes is taken by `data` below, and nobody waits for the half that reads.
        let (_, write) = channel.split();
        tokio::spawn(async move {
            let _place = place;
            run(&room, job, write, input, controls).await;
        });
        Ok(())
    }

    fn control(&self, id: ChannelId, control: Control) {
        if let Some(running) = self.running.get(&id) {
            // Where it has more to do than it can, the next one tells.
            let _ = running.controls.try_send(control);
        }
    }
}

impl Handler for Guest {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        _: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(self.judge(offer.public_key))
    }

    async fn auth_publickey(
        &mut self,
        _: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(self.judge(key.public_key))
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), Self::Error> {
        self.is_known.store(true, Ordering::Release);
        self.stranger = None;
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.running
            .retain(|_, running| !running.controls.is_closed());
        if self.waiting.len() + self.running.len() >= MAX_SSH_SESSIONS {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.waiting.insert(channel.id(), (channel, Job::default()));
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        self.waiting.remove(&id);
        self.running.remove(&id);
        Ok(())
    }

    async fn data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.running.get(&id) {
            Some(running) if !running.input.push(data) => {
                self.running.remove(&id);
                session.close(id)
            }
            _ => Ok(()),
        }
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        if let Some(running) = self.running.get(&id) {
            running.input.end();
        }
        Ok(())
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // As sshd takes them on most systems (`AcceptEnv LANG LC_*`).
        let is_taken =
            (name == "LANG" || name.starts_with("LC_")) && is_plain(name) && is_plain(value);
        match self
            .waiting
            .get_mut(&id)
            .filter(|(_, job)| is_taken && job.environment.len() < MAX_SSH_VARIABLES)
        {
            Some((_, job)) => {
                job.environment.push(format!("{name}={value}"));
                session.channel_success(id)
            }
            None => session.channel_failure(id),
        }
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        terminal: &str,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some((_, job)) = self.waiting.get_mut(&id) else {
            return session.channel_failure(id);
        };
        job.terminal = Some((columns, rows));
        if is_plain(terminal) && !terminal.is_empty() {
            job.environment.push(format!("TERM={terminal}"));
        }
        session.channel_success(id)
    }

    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.begin(id, Wish::Shell, session)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match std::str::from_utf8(data) {
            Ok(command) if !command.contains('\0') => {
                self.begin(id, Wish::Command(command.to_owned()), session)
            }
            _ => session.channel_failure(id),
        }
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match name {
            "sftp" => self.begin(id, Wish::Files, session),
            _ => session.channel_failure(id),
        }
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.control(id, Control::Resize(columns, rows));
        Ok(())
    }

    async fn signal(
        &mut self,
        id: ChannelId,
        signal: Sig,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(name) = signal_name(&signal) {
            self.control(id, Control::Signal(name));
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply
            .reject(ChannelOpenFailure::AdministrativelyProhibited)
            .await;
        Ok(())
    }
}

fn is_plain(text: &str) -> bool {
    text.len() <= MAX_SSH_VARIABLE_BYTES && !text.chars().any(char::is_control)
}

/// The signals of RFC 4254, section 6.10; others have no meaning there.
fn signal_name(signal: &Sig) -> Option<&'static str> {
    Some(match signal {
        Sig::ABRT => "ABRT",
        Sig::ALRM => "ALRM",
        Sig::FPE => "FPE",
        Sig::HUP => "HUP",
        Sig::ILL => "ILL",
        Sig::INT => "INT",
        Sig::KILL => "KILL",
        Sig::PIPE => "PIPE",
        Sig::QUIT => "QUIT",
        Sig::SEGV => "SEGV",
        Sig::TERM => "TERM",
        Sig::USR1 => "USR1",
        Sig::Custom(_) => return None,
    })
}
