//! The helper, seen from the command: its methods, each with its types and its limit.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use vfioctl_core::Snapshot;
use vfioctl_core::acs::AcsChange;
use vfioctl_core::pci::PciAddress;
use vfioctl_protocol::wire::{WireError, snapshot_from_wire};
use vfioctl_protocol::{
    Client, ClientError, NoHelper, acs, connect_greeted, device, inventory, machine,
};

use crate::limits;
use crate::seen::{SeenClaim, SeenPin};

/// A connection to a helper that is not too old.
#[derive(Debug)]
pub(crate) struct Helper {
    client: Client,
    version: inventory::GetVersion_Reply,
}

type Reply<R> = Result<R, ClientError>;

impl Helper {
    /// Connects and asks for the version.
    ///
    /// # Errors
    /// [`NoHelper`].
    pub(crate) fn connect(socket: &Path) -> Result<Self, NoHelper> {
        let (client, version) = connect_greeted(socket, limits::HELLO)?;
        Ok(Self { client, version })
    }

    /// What it says of itself.
    pub(crate) fn version(&self) -> &inventory::GetVersion_Reply {
        &self.version
    }

    /// Looks at the whole machine.
    pub(crate) fn describe(&mut self) -> Reply<Snapshot> {
        let reply: inventory::Describe_Reply =
            self.client
                .call("io.vfioctl.Inventory.Describe", json!({}), limits::LOOK)?;
        snapshot_from_wire(&reply).map_err(malformed)
    }

    /// Tells all claims and all pins.
    pub(crate) fn claims(&mut self) -> Reply<(Vec<SeenClaim>, Vec<SeenPin>)> {
        let reply: device::ListClaims_Reply =
            self.client
                .call("io.vfioctl.Device.ListClaims", json!({}), limits::LOOK)?;
        let claims: Result<_, _> = reply.claims.iter().map(SeenClaim::from_wire).collect();
        let pins: Result<_, _> = reply.pins.iter().map(SeenPin::from_wire).collect();
        Ok((claims.map_err(malformed)?, pins.map_err(malformed)?))
    }

    /// Tells that a device came or went.
    pub(crate) fn notice(&mut self) -> Reply<()> {
        self.client
            .call("io.vfioctl.Device.Notice", json!({}), limits::RECOVER)
            .map(|_: device::Notice_Reply| ())
    }

    /// Plans to bind a device.
    pub(crate) fn plan_bind(
        &mut self,
        address: PciAddress,
        persist: bool,
    ) -> Reply<device::PlanBind_Reply> {
        let parameters = device::PlanBind_Args {
            address: address.to_string(),
            persist: persist.then_some(true),
        };
        self.client
            .call("io.vfioctl.Device.PlanBind", parameters, limits::LOOK)
    }

    /// Binds a device, and with `persist` pins it; every step that is done goes to `progress`.
    pub(crate) fn bind(
        &mut self,
        address: PciAddress,
        members: Option<Vec<String>>,
        persist: bool,
        mut progress: impl FnMut(device::Step),
    ) -> Reply<device::Bind_Reply> {
        let parameters = device::Bind_Args {
            address: address.to_string(),
            members,
            persist: persist.then_some(true),
        };
        self.client.call_more(
            "io.vfioctl.Device.Bind",
            parameters,
            limits::STEP,
            |reply: device::Bind_Reply| reply.step.into_iter().for_each(&mut progress),
        )
    }

    /// Plans to release a device.
    pub(crate) fn plan_release(&mut self, address: PciAddress) -> Reply<device::PlanRelease_Reply> {
        let parameters = device::PlanRelease_Args {
            address: address.to_string(),
        };
        self.client
            .call("io.vfioctl.Device.PlanRelease", parameters, limits::LOOK)
    }

    /// Releases a device; every step that is done goes to `progress`.
    pub(crate) fn release(
        &mut self,
        address: PciAddress,
        mut progress: impl FnMut(device::Step),
    ) -> Reply<device::Release_Reply> {
        let parameters = device::Release_Args {
            address: address.to_string(),
        };
        self.client.call_more(
            "io.vfioctl.Device.Release",
            parameters,
            limits::STEP,
            |reply: device::Release_Reply| reply.step.into_iter().for_each(&mut progress),
        )
    }

    /// Recovers, or only plans to.
    pub(crate) fn recover(&mut self, commit: bool) -> Reply<device::Recover_Reply> {
        let parameters = device::Recover_Args {
            commit: Some(commit),
        };
        let limit = if commit {
            limits::RECOVER
        } else {
            limits::LOOK
        };
        self.client
            .call("io.vfioctl.Device.Recover", parameters, limit)
    }

    /// Tells which ports were changed since the boot.
    pub(crate) fn acs_changes(&mut self) -> Reply<Vec<acs::Change>> {
        let reply: acs::ListChanges_Reply =
            self.client
                .call("io.vfioctl.Acs.ListChanges", json!({}), limits::LOOK)?;
        Ok(reply.changes)
    }

    /// Plans to isolate devices.
    pub(crate) fn plan_isolate(&mut self, devices: &[PciAddress]) -> Reply<acs::Plan> {
        let addresses = texts(devices);
        let parameters = acs::PlanIsolate_Args { addresses };
        let reply: acs::PlanIsolate_Reply =
            self.client
                .call("io.vfioctl.Acs.PlanIsolate", parameters, limits::LOOK)?;
        Ok(reply.plan)
    }

    /// Isolates devices; every step that is done goes to `progress`.
    pub(crate) fn isolate(
        &mut self,
        devices: &[PciAddress],
        members: Vec<String>,
        mut progress: impl FnMut(acs::Step),
    ) -> Reply<Regrouped> {
        let parameters = acs::Isolate_Args {
            addresses: texts(devices),
            members: Some(members),
        };
        let reply = self.client.call_more(
            "io.vfioctl.Acs.Isolate",
            parameters,
            limits::STEP,
            |reply: acs::Isolate_Reply| reply.step.into_iter().for_each(&mut progress),
        )?;
        Regrouped::of(reply.plan, reply.groups)
    }

    /// Plans to change bits of a port.
    pub(crate) fn plan_set_acs(
        &mut self,
        port: PciAddress,
        bits: AcsChange,
        regroup: bool,
    ) -> Reply<acs::Plan> {
        let parameters = acs::PlanSet_Args {
            address: port.to_string(),
            bits: bits.to_string(),
            regroup: Some(regroup),
        };
        let reply: acs::PlanSet_Reply =
            self.client
                .call("io.vfioctl.Acs.PlanSet", parameters, limits::LOOK)?;
        Ok(reply.plan)
    }

    /// Changes bits of a port; every step that is done goes to `progress`.
    pub(crate) fn set_acs(
        &mut self,
        port: PciAddress,
        bits: AcsChange,
        regroup: bool,
        mut progress: impl FnMut(acs::Step),
    ) -> Reply<Regrouped> {
        let parameters = acs::Set_Args {
            address: port.to_string(),
            bits: bits.to_string(),
            regroup: Some(regroup),
        };
        let reply = self.client.call_more(
            "io.vfioctl.Acs.Set",
            parameters,
            limits::STEP,
            |reply: acs::Set_Reply| reply.step.into_iter().for_each(&mut progress),
        )?;
        Regrouped::of(reply.plan, reply.groups)
    }

    /// Plans to take changes of ports back.
    pub(crate) fn plan_restore_acs(&mut self, ports: &[PciAddress]) -> Reply<acs::Plan> {
        let addresses = texts(ports);
        let parameters = acs::PlanRestore_Args { addresses };
        let reply: acs::PlanRestore_Reply =
            self.client
                .call("io.vfioctl.Acs.PlanRestore", parameters, limits::LOOK)?;
        Ok(reply.plan)
    }

    /// Takes changes of ports back; every step that is done goes to `progress`.
    pub(crate) fn restore_acs(
        &mut self,
        ports: &[PciAddress],
        mut progress: impl FnMut(acs::Step),
    ) -> Reply<Regrouped> {
        let addresses = texts(ports);
        let reply = self.client.call_more(
            "io.vfioctl.Acs.Restore",
            acs::Restore_Args { addresses },
            limits::STEP,
            |reply: acs::Restore_Reply| reply.step.into_iter().for_each(&mut progress),
        )?;
        Regrouped::of(reply.plan, reply.groups)
    }

    /// Plans a machine.
    pub(crate) fn plan_machine(&mut self, spec: machine::Spec) -> Reply<machine::Plan_Reply> {
        self.client.call(
            "io.vfioctl.Machine.Plan",
            machine::Plan_Args { spec },
            limits::LOOK,
        )
    }

    /// Makes a machine; QEMU may take `start` until it answers.
    pub(crate) fn create_machine(
        &mut self,
        spec: machine::Spec,
        start: Duration,
        mut progress: impl FnMut(String),
    ) -> Reply<machine::Create_Reply> {
        self.client.call_more(
            "io.vfioctl.Machine.Create",
            machine::Create_Args { spec },
            start.saturating_add(limits::MACHINE_MARGIN),
            |reply: machine::Create_Reply| reply.progress.into_iter().for_each(&mut progress),
        )
    }

    /// Tells machines: the caller's, or everyone's.
    pub(crate) fn machines(&mut self, all: bool) -> Reply<Vec<machine::Info>> {
        let parameters = machine::List_Args { all: Some(all) };
        let reply: machine::List_Reply =
            self.client
                .call("io.vfioctl.Machine.List", parameters, limits::LOOK)?;
        Ok(reply.machines)
    }

    /// Tells one machine of the caller.
    pub(crate) fn machine(&mut self, name: &str) -> Reply<machine::Info> {
        let parameters = machine::Show_Args {
            name: name.to_owned(),
        };
        let reply: machine::Show_Reply =
            self.client
                .call("io.vfioctl.Machine.Show", parameters, limits::LOOK)?;
        Ok(reply.machine)
    }

    /// Starts a stopped machine again. The helper tells its progress every few seconds, however long
    /// QEMU takes.
    pub(crate) fn start_machine(
        &mut self,
        name: &str,
        mut progress: impl FnMut(String),
    ) -> Reply<machine::Start_Reply> {
        let parameters = machine::Start_Args {
            name: name.to_owned(),
        };
        self.client.call_more(
            "io.vfioctl.Machine.Start",
            parameters,
            limits::MACHINE_MARGIN,
            |reply: machine::Start_Reply| reply.progress.into_iter().for_each(&mut progress),
        )
    }

    /// Ends a machine; it has `powerdown` where it is given, and is cut off where not.
    pub(crate) fn stop_machine(
        &mut self,
        name: &str,
        powerdown: Option<u32>,
        mut progress: impl FnMut(String),
    ) -> Reply<machine::Stop_Reply> {
        let how = match powerdown {
            Some(_) => machine::Stop_Args_how::powerdown,
            None => machine::Stop_Args_how::quit,
        };
        let parameters = machine::Stop_Args {
            name: name.to_owned(),
            how: Some(how),
            timeout_s: powerdown.map(i64::from),
        };
        let wait = Duration::from_secs(powerdown.unwrap_or_default().into());
        self.client.call_more(
            "io.vfioctl.Machine.Stop",
            parameters,
            wait.saturating_add(limits::MACHINE_MARGIN),
            |reply: machine::Stop_Reply| reply.progress.into_iter().for_each(&mut progress),
        )
    }

    /// Forgets a stopped machine.
    pub(crate) fn remove_machine(&mut self, name: &str) -> Reply<()> {
        let parameters = machine::Remove_Args {
            name: name.to_owned(),
        };
        let _: machine::Remove_Reply =
            self.client
                .call("io.vfioctl.Machine.Remove", parameters, limits::LOOK)?;
        Ok(())
    }
}

/// What changing ACS came to.
#[derive(Debug)]
pub(crate) struct Regrouped {
    /// What was done.
    pub(crate) plan: acs::Plan,
    /// The groups that are concerned, as they are now.
    pub(crate) groups: Vec<Vec<String>>,
}

impl Regrouped {
    fn of(plan: Option<acs::Plan>, groups: Option<Vec<Vec<String>>>) -> Reply<Self> {
        match (plan, groups) {
            (Some(plan), Some(groups)) => Ok(Self { plan, groups }),
            _ => Err(ClientError::Malformed("the last reply has no plan".into())),
        }
    }
}

fn texts(addresses: &[PciAddress]) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn malformed(error: WireError) -> ClientError {
    ClientError::Malformed(error.to_string())
}
