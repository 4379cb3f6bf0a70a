//! One caller's view of the interfaces: each method goes to its own file.

use std::sync::Arc;

use vfioctl_protocol::{LEVEL, acs, container, device, inventory, machine};

use super::reply::reply_error;
use super::{
    acs as method, bind, container as claims, create_machine, describe, list_claims, list_machines,
    notice, plan_machine, read_log, recover, release, remove_machine, start_machine, stop_machine,
};
use crate::helper::Helper;
use crate::peer::Peer;

/// One caller.
pub(super) struct Session {
    pub(super) helper: Arc<Helper>,
    pub(super) peer: Peer,
}

const ACS: &str = "io.vfioctl.Acs";
const CONTAINER: &str = "io.vfioctl.Container";
const DEVICE: &str = "io.vfioctl.Device";
const INVENTORY: &str = "io.vfioctl.Inventory";
const MACHINE: &str = "io.vfioctl.Machine";

impl inventory::VarlinkInterface for Session {
    fn get_version(&self, call: &mut dyn inventory::Call_GetVersion) -> varlink::Result<()> {
        call.reply(env!("CARGO_PKG_VERSION").to_owned(), LEVEL)
    }

    fn describe(&self, call: &mut dyn inventory::Call_Describe) -> varlink::Result<()> {
        match describe::describe(&self.helper) {
            Ok(reply) => call.reply_struct(reply.into()),
            Err(error) => reply_error(call, INVENTORY, error),
        }
    }
}

impl device::VarlinkInterface for Session {
    fn plan_bind(
        &self,
        call: &mut dyn device::Call_PlanBind,
        address: String,
        persist: Option<bool>,
    ) -> varlink::Result<()> {
        match bind::plan(self, &address, persist.unwrap_or(false)) {
            Ok(plan) => call.reply_struct(plan.into()),
            Err(error) => reply_error(call, DEVICE, error),
        }
    }

    fn bind(
        &self,
        call: &mut dyn device::Call_Bind,
        address: String,
        members: Option<Vec<String>>,
        persist: Option<bool>,
    ) -> varlink::Result<()> {
        let more = call.wants_more();
        let persist = persist.unwrap_or(false);
        call.set_continues(more);
        let bound = bind::bind(self, &address, members, persist, &mut |step| {
            if more {
                // A caller that has left does not stop what it began.
                let _ = call.reply(Some(step), None, None);
            }
        });
        call.set_continues(false);
        match bound {
            Ok((claim, pinned)) => call.reply(None, Some(claim), Some(pinned)),
            Err(error) => reply_error(call, DEVICE, error),
        }
    }

    fn plan_release(
        &self,
        call: &mut dyn device::Call_PlanRelease,
        address: String,
    ) -> varlink::Result<()> {
        match release::plan(self, &address) {
            Ok(plan) => call.reply_struct(plan.into()),
            Err(error) => reply_error(call, DEVICE, error),
        }
    }

    fn release(&self, call: &mut dyn device::Call_Release, address: String) -> varlink::Result<()> {
        let more = call.wants_more();
        call.set_continues(more);
        let released = release::release(self, &address, &mut |step| {
            if more {
                let _ = call.reply(Some(step), None, None, None);
            }
        });
        call.set_continues(false);
        match released {
            Ok(reply) => call.reply_struct(reply.into()),
            Err(error) => reply_error(call, DEVICE, error),
        }
    }

    fn list_claims(&self, call: &mut dyn device::Call_ListClaims) -> varlink::Result<()> {
        call.reply_struct(list_claims::list_claims(&self.helper).into())
    }

    fn notice(&self, call: &mut dyn device::Call_Notice) -> varlink::Result<()> {
        match notice::notice(self) {
            Ok(()) => call.reply(),
            Err(error) => reply_error(call, DEVICE, error),
        }
    }

    fn recover(
        &self,
        call: &mut dyn device::Call_Recover,
        commit: Option<bool>,
    ) -> varlink::Result<()> {
        match recover::recover(self, commit.unwrap_or(false)) {
            Ok(recovered) => call.reply(recovered),
            Err(error) => reply_error(call, DEVICE, error),
        }
    }
}

impl container::VarlinkInterface for Session {
    fn claim(
        &self,
        call: &mut dyn container::Call_Claim,
        name: String,
        addresses: Vec<String>,
        exclusive: Option<bool>,
        user: Option<String>,
    ) -> varlink::Result<()> {
        let request = container::Claim_Args {
            name,
            addresses,
            exclusive,
            user,
        };
        match claims::claim(self, &request) {
            Ok(reply) => call.reply_struct(reply.into()),
            Err(error) => reply_error(call, CONTAINER, error),
        }
    }

    fn end(&self, call: &mut dyn container::Call_End, name: String) -> varlink::Result<()> {
        match claims::end(self, &name) {
            Ok(()) => call.reply(),
            Err(error) => reply_error(call, CONTAINER, error),
        }
    }
}

impl acs::VarlinkInterface for Session {
    fn plan_isolate(
        &self,
        call: &mut dyn acs::Call_PlanIsolate,
        addresses: Vec<String>,
    ) -> varlink::Result<()> {
        match method::plan_isolate(self, &addresses) {
            Ok(plan) => call.reply(plan),
            Err(error) => reply_error(call, ACS, error),
        }
    }

    fn isolate(
        &self,
        call: &mut dyn acs::Call_Isolate,
        addresses: Vec<String>,
        members: Option<Vec<String>>,
    ) -> varlink::Result<()> {
        let more = call.wants_more();
        call.set_continues(more);
        let done = method::isolate(self, &addresses, members, &mut |step| {
            if more {
                let _ = call.reply(Some(step), None, None);
            }
        });
        call.set_continues(false);
        match done {
            Ok(done) => call.reply(None, Some(done.plan), Some(done.groups)),
            Err(error) => reply_error(call, ACS, error),
        }
    }

    fn plan_set(
        &self,
        call: &mut dyn acs::Call_PlanSet,
        address: String,
        bits: String,
        regroup: Option<bool>,
    ) -> varlink::Result<()> {
        match method::plan_set(self, &address, &bits, regroup.unwrap_or(false)) {
            Ok(plan) => call.reply(plan),
            Err(error) => reply_error(call, ACS, error),
        }
    }

    fn set(
        &self,
        call: &mut dyn acs::Call_Set,
        address: String,
        bits: String,
        regroup: Option<bool>,
    ) -> varlink::Result<()> {
        let more = call.wants_more();
        call.set_continues(more);
        let regroup = regroup.unwrap_or(false);
        let done = method::set(self, &address, &bits, regroup, &mut |step| {
            if more {
                let _ = call.reply(Some(step), None, None);
            }
        });
        call.set_continues(false);
        match done {
            Ok(done) => call.reply(None, Some(done.plan), Some(done.groups)),
            Err(error) => reply_error(call, ACS, error),
        }
    }

    fn plan_restore(
        &self,
        call: &mut dyn acs::Call_PlanRestore,
        addresses: Vec<String>,
    ) -> varlink::Result<()> {
        match method::plan_restore(self, &addresses) {
            Ok(plan) => call.reply(plan),
            Err(error) => reply_error(call, ACS, error),
        }
    }

    fn restore(
        &self,
        call: &mut dyn acs::Call_Restore,
        addresses: Vec<String>,
    ) -> varlink::Result<()> {
        let more = call.wants_more();
        call.set_continues(more);
        let done = method::restore(self, &addresses, &mut |step| {
            if more {
                let _ = call.reply(Some(step), None, None);
            }
        });
        call.set_continues(false);
        match done {
            Ok(done) => call.reply(None, Some(done.plan), Some(done.groups)),
            Err(error) => reply_error(call, ACS, error),
        }
    }

    fn list_changes(&self, call: &mut dyn acs::Call_ListChanges) -> varlink::Result<()> {
        call.reply(method::list_changes(&self.helper))
    }
}

impl machine::VarlinkInterface for Session {
    fn plan(&self, call: &mut dyn machine::Call_Plan, spec: machine::Spec) -> varlink::Result<()> {
        match plan_machine::plan_machine(self, &spec) {
            Ok(plan) => call.reply_struct(plan.into()),
            Err(error) => reply_error(call, MACHINE, error),
        }
    }

    fn create(
        &self,
        call: &mut dyn machine::Call_Create,
        spec: machine::Spec,
    ) -> varlink::Result<()> {
        let more = call.wants_more();
        call.set_continues(more);
        let created = create_machine::create_machine(self, &spec, &mut |text| {
            if more {
                let _ = call.reply(Some(text.to_owned()), None);
            }
        });
        call.set_continues(false);
        match created {
            Ok(info) => call.reply(None, Some(info)),
            Err(error) => reply_error(call, MACHINE, error),
        }
    }

    fn start(&self, call: &mut dyn machine::Call_Start, name: String) -> varlink::Result<()> {
        let more = call.wants_more();
        call.set_continues(more);
        let started = start_machine::start_machine(self, &name, &mut |text| {
            if more {
                let _ = call.reply(Some(text.to_owned()), None);
            }
        });
        call.set_continues(false);
        match started {
            Ok(info) => call.reply(None, Some(info)),
            Err(error) => reply_error(call, MACHINE, error),
        }
    }

    fn read_log(
        &self,
        call: &mut dyn machine::Call_ReadLog,
        name: String,
        of: machine::ReadLog_Args_of,
        offset: i64,
    ) -> varlink::Result<()> {
        match read_log::read_log(self, &name, &of, offset) {
            Ok(reply) => call.reply_struct(reply.into()),
            Err(error) => reply_error(call, MACHINE, error),
        }
    }

    fn list(&self, call: &mut dyn machine::Call_List, all: Option<bool>) -> varlink::Result<()> {
        call.reply(list_machines::list_machines(self, all.unwrap_or(false)))
    }

    fn show(&self, call: &mut dyn machine::Call_Show, name: String) -> varlink::Result<()> {
        match list_machines::show_machine(self, &name) {
            Ok(info) => call.reply(info),
            Err(error) => reply_error(call, MACHINE, error),
        }
    }

    fn stop(
        &self,
        call: &mut dyn machine::Call_Stop,
        name: String,
        how: Option<machine::Stop_Args_how>,
        timeout_s: Option<i64>,
    ) -> varlink::Result<()> {
        let more = call.wants_more();
        call.set_continues(more);
        let stopped = stop_machine::stop_machine(self, &name, how, timeout_s, &mut |text| {
            if more {
                let _ = call.reply(Some(text.to_owned()), None);
            }
        });
        call.set_continues(false);
        match stopped {
            Ok(info) => call.reply(None, Some(info)),
            Err(error) => reply_error(call, MACHINE, error),
        }
    }

    fn remove(&self, call: &mut dyn machine::Call_Remove, name: String) -> varlink::Result<()> {
        match remove_machine::remove_machine(self, &name) {
            Ok(()) => call.reply(),
            Err(error) => reply_error(call, MACHINE, error),
        }
    }
}
