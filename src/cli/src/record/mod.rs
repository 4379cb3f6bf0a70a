//! Records: what answers are made of. A record is printed for people by `print`, and is JSON for
//! programs; `docs/json.md` and `docs/schema/` describe it, and tests hold them together.
//!
//! Nothing here decides or prints.

mod acs;
mod claim;
mod error;
mod function;
mod group;
mod image;
mod machine;
mod prediction;
#[cfg(test)]
pub(crate) mod schema;
mod setup;
mod step;

pub(crate) use acs::{
    AuditRecord, AuditedRecord, ChangeRecord, HopRecord, OpenSwitchRecord, OtherRecord, PortRecord,
    RegroupRecord,
};
pub(crate) use claim::{ClaimRecord, OwnerRecord, PinRecord};
pub(crate) use error::ErrorRecord;
pub(crate) use function::{
    AcsBitRecord, AcsRecord, BarRecord, FunctionRecord, ProblemRecord, ShowRecord, SriovRecord,
    StateKind, StateRecord, UpstreamRecord,
};
pub(crate) use group::{
    DeviceRecord, GroupRecord, GroupsRecord, ListRecord, SpoilerRecord, TreeNodeRecord,
    ViabilityKind,
};
pub(crate) use image::{ImageListRecord, ImagePlanRecord, ImageRecord, ImagesRecord};
#[cfg(test)]
pub(crate) use machine::{DiskRecord, ForwardRecord, UefiRecord};
pub(crate) use machine::{
    MachinePlanRecord, MachineRecord, MachinesRecord, RemovedRecord, SpecRecord, VmRecord,
};
pub(crate) use prediction::{
    BlockerRecord, GroupDifferenceRecord, KernelGroupsRecord, PredictionRecord, RemedyRecord,
    WhyRecord,
};
pub(crate) use setup::{BootLoaderKind, BootLoaderRecord, SetupRecord};
#[cfg(test)]
pub(crate) use setup::{SetupStepRecord, SetupVerb};
#[cfg(test)]
pub(crate) use step::StepVerb;
pub(crate) use step::{BindRecord, RecoverRecord, RecoveredRecord, ReleaseRecord, StepRecord};
