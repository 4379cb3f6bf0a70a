//! The life of a run after its start: how it goes on, how it ends, and what is found of it by a runner that
//! came later.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use vfioctl_api::{Exit, Order, SshAccess};
use vfioctl_protocol::POWERED_OFF;
use vfioctl_protocol::machine::{Info, Info_state};

use super::folder::{Ended, MachineFolder, Note};
use super::helper::{CallError, End};
use super::reach::answers_ssh;
use super::recipe::{Reach, machine_name};
use super::{Machines, log};
use crate::limits::{BOOT_TIME, MACHINE_BEAT, POWERDOWN_TIME, SSH_LATE_BEAT, SSH_TIME};
use crate::world::{Found, Running, Unknown};

fn unknown(error: impl std::fmt::Display) -> Unknown {
    Unknown(error.to_string())
}

impl Machines {
    /// The note about a task's machine; none where there is none.
    fn note(&self, order: &Order) -> Result<Option<Note>, Unknown> {
        let note = self.folders.of(&order.task).note();
        note.map_err(|error| {
            Unknown(format!(
                "the note about machine '{}' cannot be read: {error}",
                machine_name(order)
            ))
        })
    }

    /// What there is of a run.
    pub(super) async fn find_run(&self, order: &Order) -> Result<Found, Unknown> {
        let Some(note) = self.note(order)? else {
            return Ok(Found::Absent);
        };
        match note.ended {
            Some(ended) if ended.run == order.run => return Ok(Found::Ended(ended.exit)),
            // The helper was not asked for it.
            _ if note.begun != order.run => return Ok(Found::Absent),
            _ => {}
        }
        let shown = self.helper.show(&machine_name(order)).await;
        Ok(match shown.map_err(unknown)? {
            None => Found::Absent,
            Some(machine) if machine.state == Info_state::stopped => {
                Found::Ended(exit_of(&machine))
            }
            Some(_) => Found::Running,
        })
    }

    /// Waits for the end of a run.
    pub(super) async fn wait_for_run(
        &self,
        order: &Order,
        running: &Running,
    ) -> Result<Found, Unknown> {
        let mut last_try: Option<Instant> = None;
        loop {
            let Some(note) = self.note(order)? else {
                return Ok(Found::Absent);
            };
            let shown = self.helper.show(&machine_name(order)).await;
            let machine = match shown.map_err(unknown)? {
                None => return self.find_run(order).await,
                Some(machine) if machine.state == Info_state::stopped => {
                    return Ok(Found::Ended(exit_of(&machine)));
                }
                Some(machine) => machine,
            };
            let age = age_of(&machine);
            let is_time = last_try.is_none_or(|at| age < SSH_TIME || at.elapsed() >= SSH_LATE_BEAT);
            if is_time {
                last_try = Some(Instant::now());
                self.tell_reach(order, &note, &machine, age, running).await;
            }
            tokio::time::sleep(MACHINE_BEAT).await;
        }
    }

    /// Tells how a machine that runs is reached, or how far it has come.
    async fn tell_reach(
        &self,
        order: &Order,
        note: &Note,
        machine: &Info,
        age: Duration,
        running: &Running,
    ) {
        let folder = self.folders.of(&order.task);
        if machine.state == Info_state::starting {
            return running.tell(Some("QEMU is starting".to_owned()), None);
        }
        if note.has_passt && !self.networks.is_alive(&folder) {
            let because = "it has no network any more, since passt or its relay has ended; \
                           stop it and start it again";
            return running.tell(Some(because.to_owned()), None);
        }
        let access = self.access(note);
        let has_answered = || self.answered().get(&order.task) == Some(&order.run);
        if has_answered() {
            return running.tell(None, Some(access));
        }
        if answers_ssh(self.probe_address(note)).await {
            self.answered().insert(order.task.clone(), order.run);
            return running.tell(None, Some(access));
        }
        running.tell(Some(progress(order, age)), None);
    }

    /// How a machine is reached.
    fn access(&self, note: &Note) -> SshAccess {
        let is_far = note.has_passt || self.ports.listen().is_ipv4();
        SshAccess {
            // QEMU's own network does not know addresses of the sixth version.
            address: match is_far {
                true => self.parts.address.clone(),
                false => Ipv4Addr::LOCALHOST.to_string(),
            },
            port: note.port,
            user: note.user.clone(),
            host_key: note.host_key.clone(),
        }
    }

    /// Where its server of SSH is asked from here.
    fn probe_address(&self, note: &Note) -> SocketAddr {
        let listen = match (note.has_passt, Reach::user(self.ports.listen())) {
            (false, Reach::User(address)) => IpAddr::V4(address),
            _ => self.ports.listen(),
        };
        let address = match listen.is_unspecified() {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => listen,
        };
        (address, note.port).into()
    }

    /// Ends a run.
    pub(super) async fn end_run(&self, order: &Order, at_once: bool) -> Result<(), Unknown> {
        if self.note(order)?.is_none() {
            return Ok(());
        }
        let how = match at_once {
            true => End::Quit,
            false => End::Powerdown(POWERDOWN_TIME),
        };
        let stopped = self.helper.stop(&machine_name(order), how).await;
        stopped.map_err(unknown)
    }

    /// Gives back what a run that is over held: its logs and its end are kept, and the helper forgets the
    /// machine. Of a run before which there was none, nothing is kept where the helper was not asked for it.
    pub(super) async fn settle_run(&self, order: &Order) -> Result<(), Unknown> {
        let folder = self.folders.of(&order.task);
        let Some(note) = self.note(order)? else {
            return Ok(());
        };
        if note.begun > 0 {
            self.note_end(order, &folder, note.clone()).await?;
        }
        self.leave_nothing(order, &folder, note.begun)
            .await
            .map_err(Unknown)
    }

    /// Ends the network of a run that is over; the folder goes where no run was ever begun in it.
    pub(super) async fn leave_nothing(
        &self,
        order: &Order,
        folder: &MachineFolder,
        begun: u32,
    ) -> Result<(), String> {
        self.networks.end(folder).await?;
        if begun > 0 {
            return Ok(());
        }
        let failed = |error| format!("cannot remove the folder of its machine: {error}");
        folder.remove().map_err(failed)?;
        self.ports.give_back(&order.task);
        Ok(())
    }

    async fn note_end(
        &self,
        order: &Order,
        folder: &MachineFolder,
        note: Note,
    ) -> Result<(), Unknown> {
        let name = machine_name(order);
        let Some(machine) = self.helper.show(&name).await.map_err(unknown)? else {
            return Ok(());
        };
        if machine.state != Info_state::stopped {
            return Err(Unknown(format!("machine '{name}' has not ended")));
        }
        let is_noted = |note: &Note| {
            let ended = note.ended.as_ref();
            ended.is_some_and(|ended| ended.run == note.begun)
        };
        if !is_noted(&note) {
            let mut told = vec![machine.ended.clone().unwrap_or_default()];
            told.extend(machine.devices_home.iter().cloned());
            // A log that cannot be kept must not keep GPUs from others.
            if let Err(error) = log::keep(&self.helper, folder, &name, &told).await {
                crate::log::error(&format!("the logs of machine '{name}' are lost: {error}"));
            }
            let ended = Ended {
                run: note.begun,
                exit: exit_of(&machine),
                told,
            };
            let note = Note {
                ended: Some(ended),
                ..note
            };
            folder.write_note(&note).map_err(|error| {
                Unknown(format!(
                    "the end of machine '{name}' cannot be noted: {error}"
                ))
            })?;
        }
        match self.helper.remove(&name).await {
            Err(CallError::Refused { sentence, .. }) => {
                // Its devices are not home. Whoever waits for that in vain keeps a task from its end; the
                // helper keeps the claim, and it is told as a problem until it is mended.
                let _ = self.helper.recover().await;
                if self.helper.remove(&name).await.is_err() {
                    crate::log::error(&sentence);
                }
                Ok(())
            }
            removed => removed.map_err(unknown),
        }
    }

    /// Removes all that is left of a task.
    pub(super) async fn remove_task(&self, order: &Order) -> Result<(), Unknown> {
        let folder = self.folders.of(&order.task);
        let Some(note) = self.note(order)? else {
            self.ports.give_back(&order.task);
            return Ok(());
        };
        if note.begun > 0 {
            let name = machine_name(order);
            self.helper.stop(&name, End::Quit).await.map_err(unknown)?;
            if let Err(error) = self.helper.remove(&name).await {
                let _ = self.helper.recover().await;
                let again = self.helper.remove(&name).await;
                again.map_err(|_| unknown(error))?;
            }
        }
        self.answered().remove(&order.task);
        self.leave_nothing(order, &folder, 0).await.map_err(Unknown)
    }
}

/// How a machine ended.
fn exit_of(machine: &Info) -> Exit {
    let is_good = machine.ended.as_deref() == Some(POWERED_OFF);
    Exit {
        status: i64::from(!is_good),
        out_of_memory: false,
    }
}

/// How long ago a machine was started, by its helper's clock, which is this computer's.
fn age_of(machine: &Info) -> Duration {
    let since = Duration::from_secs(u64::try_from(machine.since).unwrap_or_default());
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().saturating_sub(since)
}

/// How far a machine has come whose server of SSH has not answered. Few words: each is told to the host.
fn progress(order: &Order, age: Duration) -> String {
    if age < BOOT_TIME {
        return "booting".to_owned();
    }
    if age < SSH_TIME {
        return "waiting for SSH".to_owned();
    }
    format!(
        "SSH has not answered for {} minutes: see the console with 'vfioctl vps logs {}'",
        SSH_TIME.as_secs() / 60,
        order.task
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::sample::order;

    #[test]
    fn progress_has_few_words_and_ends_in_advice() {
        let told = |seconds| progress(&order(), Duration::from_secs(seconds));
        assert_eq!(told(0), "booting");
        assert_eq!((told(20), told(599)), (told(21), told(300)));
        assert!(told(600).contains(order().task.as_str()), "{}", told(600));
        assert_eq!(told(600), told(86_400));
    }
}
