//! What is done for a run as long as it goes on: its logs are copied, and its door is open.

use std::sync::Arc;

use russh::keys::PublicKey;
use tokio::net::TcpListener;
use vfioctl_api::{Order, SshAccess};

use super::folder::Note;
use super::life::container_name;
use super::ssh::{self, Door, HostKey};
use super::{Active, Containers, Follower};
use crate::limits::LOG_REST_TIME;

impl Containers {
    /// Copies its logs, where nobody does yet.
    pub(super) fn follow(&self, order: &Order) {
        let begin = || {
            let (connector, folder) = (Arc::clone(&self.connector), self.folder(&order.task));
            Arc::new(Follower::begin(
                connector,
                container_name(order),
                folder,
                self.parts.max_log_bytes,
            ))
        };
        let mut active = self.active();
        let active = active.entry(order.task.clone()).or_default();
        if active.run != order.run {
            *active = Active {
                run: order.run,
                ..Active::default()
            };
        }
        active.follower.get_or_insert_with(begin);
    }

    /// Waits until its logs are whole.
    pub(super) async fn finish_log(&self, order: &Order) {
        self.follow(order);
        let follower = self
            .active()
            .get(&order.task)
            .and_then(|active| active.follower.clone());
        let Some(follower) = follower else { return };
        if tokio::time::timeout(LOG_REST_TIME, follower.complete())
            .await
            .is_err()
        {
            let reason = follower
                .trouble()
                .unwrap_or_else(|| "the engine does not tell it".into());
            crate::log::error(&format!(
                "task '{}': the end of its log is lost: {reason}",
                order.task
            ));
        }
    }

    /// Opens its door, where that is asked for and not done yet; how it is reached.
    pub(super) async fn ensure_door(&self, order: &Order) -> Result<Option<SshAccess>, String> {
        let Some(request) = &order.submission.ssh else {
            return Ok(None);
        };
        let access = |active: &Active| Some(active.door.as_ref()?.1.clone());
        if let Some(access) = self
            .active()
            .get(&order.task)
            .filter(|active| active.run == order.run)
            .and_then(access)
        {
            return Ok(Some(access));
        }
        let keys = ssh::parse_keys(&request.keys)?;
        let note = self.note_of_run(order).map_err(|error| error.to_string())?;
        let before = note.as_ref().and_then(|note| note.ssh_port);
        let listener = self.place.take_port(before).await?;
        let access = self.open_door(order, listener, keys)?;
        if let Some(note) = note.filter(|note| note.ssh_port != Some(access.port)) {
            let note = Note {
                ssh_port: Some(access.port),
                ..note
            };
            self.folder(&order.task)
                .write_note(&note)
                .map_err(|error| error.to_string())?;
        }
        Ok(Some(access))
    }

    pub(super) fn open_door(
        &self,
        order: &Order,
        listener: TcpListener,
        keys: Vec<PublicKey>,
    ) -> Result<SshAccess, String> {
        let key = HostKey::read_or_make(&self.folder(&order.task).path("ssh_host_key"))?;
        let room = ssh::Room::new(
            Arc::clone(&self.connector),
            container_name(order),
            Arc::clone(&self.parts.root),
        );
        let host_key = key.public();
        let door = Door::open(listener, key, keys, room);
        let access = SshAccess {
            address: self.place.address.clone(),
            port: door.port(),
            user: ssh::USER.into(),
            host_key,
        };
        let mut active = self.active();
        let active = active.entry(order.task.clone()).or_default();
        if active.run != order.run {
            *active = Active {
                run: order.run,
                ..Active::default()
            };
        }
        active.door = Some((door, access.clone()));
        Ok(access)
    }

    pub(super) fn close_door(&self, order: &Order) {
        if let Some(active) = self.active().get_mut(&order.task) {
            active.door = None;
        }
    }

    pub(super) fn forget(&self, order: &Order) {
        self.active().remove(&order.task);
    }
}
