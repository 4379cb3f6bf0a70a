//! The start of a run: its folder, its network, and then the helper.

use std::path::Path;
use std::pin::pin;

use ring::rand::SystemRandom;
use tokio::sync::mpsc;
use vfioctl_api::{Order, Vendor};
use vfioctl_core::Answer;
use vfioctl_core::machine::{MachineSpec, find_plain_firmware, variables_beside};
use vfioctl_core::pci::PciAddress;
use vfioctl_image::{ErrorKind, Firmware, Image, Overlay};
use vfioctl_protocol::machine::Info_state;
use vfioctl_scan::host::read_guest_firmware;
use vfioctl_scan::{SysRoot, read_memory};

use super::Machines;
use super::folder::{Folders, MachineFolder, Note, Place};
use super::helper::{CallError, End};
use super::host_key::NewHostKey;
use super::images::sentence;
use super::recipe::{self, Reach, machine_name};
use crate::limits::{CANCEL_BEAT, MAX_SENTENCES, QEMU_MEMORY_MIB, RELAY_MARGIN};
use crate::node::{GpuDetail, read_nvidia_version};
use crate::whole_file;
use crate::world::{Begin, StartError};

impl Machines {
    /// Starts a run. Where it fails, nothing is left of it.
    pub(super) async fn start_run(&self, order: &Order, begin: &Begin) -> Result<(), StartError> {
        let folder = self.folders.of(&order.task);
        let begun_before = match folder.note() {
            Ok(note) => note.map_or(0, |note| note.begun),
            Err(error) => {
                let because = format!("the note about the machine cannot be read: {error}");
                return Err(StartError::never(because));
            }
        };
        let started = self.start_in(order, begin, &folder).await;
        if matches!(
            started,
            Err(StartError::Failed { .. } | StartError::Cancelled)
        ) && let Err(error) = self.undo(order, &folder, begun_before).await
        {
            // Whoever settles it tries again.
            crate::log::warning(&format!("machine of task '{}': {error}", order.task));
        }
        started
    }

    /// Makes a start that failed as if it had not been.
    async fn undo(
        &self,
        order: &Order,
        folder: &MachineFolder,
        begun_before: u32,
    ) -> Result<(), String> {
        let note = folder.note().map_err(|error| error.to_string())?;
        if let Some(note) = note.filter(|note| note.begun != begun_before) {
            let begun = begun_before;
            let note = Note { begun, ..note };
            folder
                .write_note(&note)
                .map_err(|error| error.to_string())?;
        }
        self.leave_nothing(order, folder, begun_before).await
    }

    async fn start_in(
        &self,
        order: &Order,
        begin: &Begin,
        folder: &MachineFolder,
    ) -> Result<(), StartError> {
        let gpus = self.find_gpus(order).await?;
        let memory = recipe::memory(order, self.parts.configuration.default_memory());
        self.expect_memory(memory.mib())?;
        self.forget_last(order).await?;
        let before = match folder.note().map_err(not_now)? {
            Some(note) => note,
            None => self.make_folder(order, begin, &gpus).await?,
        };
        let note = self.renewed(order, folder, before).await?;
        let reach = match note.has_passt {
            true => Reach::Passt,
            false => Reach::user(self.ports.listen()),
        };
        let devices = addresses(&gpus)?;
        let spec = recipe::spec(order, memory, folder, &note, reach, devices)
            .map_err(StartError::never)?;
        let plan = self.helper.plan(&spec).await.map_err(refused)?;
        if note.has_passt {
            let start = u64::try_from(plan.start_timeout_s).unwrap_or_default();
            let patience = RELAY_MARGIN.saturating_add(std::time::Duration::from_secs(start));
            let reached = (self.ports.listen(), note.port);
            let begun = self.networks.begin(folder, reached, patience).await;
            begun.map_err(StartError::not_now)?;
        }
        let mut let_go = Vec::new();
        for gpu in &gpus {
            let held = self.parts.gpus.let_go(gpu.gpu.number).await;
            let_go.push(held.map_err(StartError::not_now)?);
        }
        begin.begin().await?;
        for place in [Place::Console, Place::Qemu] {
            // Those of the run before, where there was one.
            let _ = std::fs::remove_file(folder.path(place));
        }
        let begun = Note {
            begun: order.run,
            ..note
        };
        folder.write_note(&begun).map_err(not_now)?;
        let created = self.create(order, begin, &spec).await;
        drop(let_go);
        created
    }

    /// The GPUs of an order, as they are now.
    async fn find_gpus(&self, order: &Order) -> Result<Vec<GpuDetail>, StartError> {
        let mut gpus = Vec::new();
        for number in &order.gpus {
            let found = self.parts.gpus.find(*number).await;
            match found.filter(|detail| detail.gpu.present) {
                Some(detail) => gpus.push(detail),
                None => {
                    let because = format!("GPU {number} of the node is not in its place");
                    return Err(StartError::not_now(because));
                }
            }
        }
        Ok(gpus)
    }

    /// A guest that has all memory of a node takes the node down with it.
    fn expect_memory(&self, mib: u64) -> Result<(), StartError> {
        let Ok(memory) = read_memory(&self.parts.root) else {
            return Ok(());
        };
        let needed = mib.saturating_add(QEMU_MEMORY_MIB);
        let free = memory.available_kib / 1024;
        if free >= needed {
            return Ok(());
        }
        Err(StartError::not_now(format!(
            "the machine needs {needed} MiB of memory, and {free} MiB of the node's are free now"
        )))
    }

    /// Has the helper forget the machine of an earlier run, which has ended and was settled.
    async fn forget_last(&self, order: &Order) -> Result<(), StartError> {
        let name = machine_name(order);
        match self.helper.show(&name).await.map_err(refused)? {
            None => Ok(()),
            Some(machine) if machine.state == Info_state::stopped => {
                self.helper.remove(&name).await.map_err(refused)
            }
            Some(_) => Err(StartError::not_now("an earlier run of it has not ended")),
        }
    }

    /// Makes the folder of a task, whole.
    pub(super) async fn make_folder(
        &self,
        order: &Order,
        begin: &Begin,
        gpus: &[GpuDetail],
    ) -> Result<Note, StartError> {
        begin.tell("making the disk");
        let image = match &order.submission.backend {
            vfioctl_api::Backend::Machine(machine) => machine.image.as_ref(),
            vfioctl_api::Backend::Container(_) => None,
        };
        let image = self.images.find(image).map_err(StartError::never)?;
        let firmware =
            find_firmware(&self.parts.root, image.record.firmware).map_err(StartError::not_now)?;
        let has_nvidia = gpus.iter().any(|gpu| gpu.gpu.vendor == Vendor::Nvidia);
        let nvidia = read_nvidia_version(&self.parts.root).filter(|_| has_nvidia);
        let port = self
            .ports
            .take(&order.task, None)
            .map_err(StartError::not_now)?;
        let (folders, order) = (self.folders.clone(), order.clone());
        let made = tokio::task::spawn_blocking(move || {
            let making = Making {
                order: &order,
                image: &image,
                firmware,
                nvidia: nvidia.as_deref(),
                port,
            };
            making.make(&folders)
        });
        made.await.unwrap_or_else(|error| Err(not_now(error)))
    }

    /// The note with a port that is free now, and with the network that works now.
    async fn renewed(
        &self,
        order: &Order,
        folder: &MachineFolder,
        before: Note,
    ) -> Result<Note, StartError> {
        let taken = self.ports.take(&order.task, Some(before.port));
        let note = Note {
            port: taken.map_err(StartError::not_now)?,
            has_passt: self.networks.check_passt().await.is_ok(),
            ..before.clone()
        };
        if note != before {
            folder.write_note(&note).map_err(not_now)?;
        }
        Ok(note)
    }

    /// Asks the helper for the machine, and tells what it tells. Where it is not wanted any more before it
    /// runs, it is ended as soon as it can be.
    async fn create(
        &self,
        order: &Order,
        begin: &Begin,
        spec: &MachineSpec,
    ) -> Result<(), StartError> {
        let (sender, mut sentences) = mpsc::channel(MAX_SENTENCES);
        let tell = move |sentence| {
            // Where nobody hears it soon, the next one says more.
            let _ = sender.try_send(sentence);
        };
        let mut creating = pin!(self.helper.create(spec, tell));
        let mut is_cancelled = false;
        let mut beat = tokio::time::interval(CANCEL_BEAT);
        let created = loop {
            tokio::select! {
                created = &mut creating => break created,
                Some(sentence) = sentences.recv() => begin.tell(sentence),
                () = begin.cancelled(), if !is_cancelled => is_cancelled = true,
                _ = beat.tick(), if is_cancelled => {
                    // Refused until QEMU has begun.
                    let _ = self.helper.stop(&machine_name(order), End::Quit).await;
                }
            }
        };
        match created {
            Ok(()) => Ok(()),
            // It may be there.
            Err(CallError::Unknown(because)) => Err(StartError::Unknown(because)),
            Err(_) if is_cancelled => Err(StartError::Cancelled),
            Err(error) => Err(refused(error)),
        }
    }
}

/// What the helper said no to, or was asked in vain.
fn refused(error: CallError) -> StartError {
    match error {
        CallError::Invalid(sentence) => StartError::never(sentence),
        error => not_now(error),
    }
}

fn not_now(error: impl std::fmt::Display) -> StartError {
    StartError::not_now(error.to_string())
}

fn addresses(gpus: &[GpuDetail]) -> Result<Vec<PciAddress>, StartError> {
    let parsed = gpus.iter().map(|gpu| {
        let address = &gpu.gpu.address;
        address.parse().map_err(|_| {
            StartError::not_now(format!(
                "GPU {} has no address: '{address}'",
                gpu.gpu.number
            ))
        })
    });
    parsed.collect()
}

/// The code of the firmware that an image boots by; none: a PC's BIOS, which QEMU has.
fn find_firmware(root: &SysRoot, boots_by: Firmware) -> Result<Option<String>, String> {
    let images = match read_guest_firmware(root) {
        Answer::Known(images) => images,
        Answer::CannotSee => Vec::new(),
    };
    let has_variables = |code: &String| {
        variables_beside(code).is_some_and(|variables| Path::new(&variables).exists())
    };
    let code = find_plain_firmware(&images)
        .map(str::to_owned)
        .filter(has_variables);
    match (boots_by, code) {
        (Firmware::Bios, _) => Ok(None),
        (Firmware::Any, code) => Ok(code),
        (Firmware::Uefi, Some(code)) => Ok(Some(code)),
        (Firmware::Uefi, None) => Err(
            "the image boots by UEFI, and the node has no firmware for that: \
             install OVMF (Debian's package 'ovmf')"
                .to_owned(),
        ),
    }
}

/// A folder that is to be made.
struct Making<'a> {
    order: &'a Order,
    image: &'a Image,
    firmware: Option<String>,
    nvidia: Option<&'a str>,
    port: u16,
}

impl Making<'_> {
    fn make(&self, folders: &Folders) -> Result<Note, StartError> {
        let made = folders.begin(&self.order.task).map_err(not_now)?;
        let folder = made.at();
        let size = recipe::disk_size(self.order, self.image).map_err(StartError::never)?;
        let disk = Overlay::create(self.image, &folder.path(Place::Disk), size, folder.group());
        disk.map_err(|error| match error.kind() {
            ErrorKind::Refused => StartError::never(sentence(&error)),
            _ => StartError::not_now(sentence(&error)),
        })?;
        let key = NewHostKey::make(&SystemRandom::new()).map_err(StartError::not_now)?;
        whole_file::write(&folder.path(Place::HostKey), key.private.as_bytes(), 0o600)
            .map_err(not_now)?;
        let user = recipe::user_of(self.order, self.image).map_err(StartError::never)?;
        let note =
            Note {
                schema: Note::SCHEMA,
                image: self.image.name.as_str().parse().map_err(|error| {
                    StartError::never(format!("'{}': {error}", self.image.name))
                })?,
                firmware: self.firmware.clone(),
                user: user.as_str().to_owned(),
                host_key: key.pair.public_line().to_owned(),
                port: self.port,
                has_passt: false,
                begun: 0,
                ended: None,
            };
        let seed = recipe::seed(self.order, user, key.pair, self.nvidia);
        seed.map_err(StartError::never)?
            .write(&folder.path(Place::Seed), folder.group())
            .map_err(|error| StartError::not_now(sentence(&error)))?;
        if let Some(variables) = self.firmware.as_deref().and_then(variables_beside) {
            std::fs::copy(variables, folder.path(Place::Variables))
                .and_then(|_| folder.give_to_qemu(Place::Variables, true))
                .map_err(not_now)?;
        }
        folder
            .give_to_qemu(Place::Disk, true)
            .and_then(|()| folder.give_to_qemu(Place::Seed, false))
            .and_then(|()| folder.write_note(&note))
            .map_err(not_now)?;
        made.publish().map_err(not_now)?;
        Ok(note)
    }
}
