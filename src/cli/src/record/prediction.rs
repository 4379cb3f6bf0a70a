//! Records of predicted IOMMU groups: `vfioctl groups --dump`.

use std::collections::BTreeMap;

use serde::Serialize;

/// The groups that Linux is predicted to make, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PredictionRecord {
    /// The functions that were asked about; the text tells of their groups only.
    #[serde(skip)]
    pub(crate) only: Vec<String>,
    /// The groups, each in the order of addresses, ordered by their first members.
    pub(crate) groups: Vec<Vec<String>>,
    /// For each function, by its address, why it is in its group.
    pub(crate) why: BTreeMap<String, WhyRecord>,
    /// Whether bridges are missing that must be there.
    pub(crate) partial: bool,
    /// What is missing; it is taken as isolating.
    pub(crate) missing_bridges: Vec<String>,
    /// Functions whose group depends on what could not be seen.
    pub(crate) uncertain: Vec<String>,
    /// What should be known before the prediction is believed, as sentences.
    pub(crate) notes: Vec<String>,
    /// Name of the algorithm that is followed.
    pub(crate) algorithm: &'static str,
    /// The day of the kernel's quirk table that is followed.
    pub(crate) quirk_table: &'static str,
    /// The kernel's own groups beside it; null where they are not told.
    pub(crate) kernel: Option<KernelGroupsRecord>,
}

/// Why a function is in its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WhyRecord {
    /// Vendor ID, four hexadecimal digits.
    pub(crate) vendor_id: String,
    /// Device ID, four hexadecimal digits.
    pub(crate) device_id: String,
    /// Class code, six hexadecimal digits.
    pub(crate) class_code: String,
    /// What it is called.
    pub(crate) name: String,
    /// Whether it is a bridge; null where that cannot be seen.
    pub(crate) is_bridge: Option<bool>,
    /// Whether it is what people call a GPU.
    #[serde(skip)]
    pub(crate) is_gpu: bool,
    /// Which of the groups it is in; null where no IOMMU covers it.
    pub(crate) group: Option<usize>,
    /// What put it there.
    pub(crate) decision: &'static str,
    /// The function that is to blame.
    pub(crate) decided_by: Option<String>,
    /// Why that one, or this one, does not isolate.
    pub(crate) because: Option<&'static str>,
    /// The ACS bits that are offered there and off.
    pub(crate) missing: Vec<&'static str>,
    /// The bridges above that do not isolate, nearest first.
    pub(crate) blockers: Vec<BlockerRecord>,
    /// What would help, in the order to try.
    pub(crate) remedies: Vec<RemedyRecord>,
    /// All of it in one sentence.
    pub(crate) text: String,
}

/// A bridge that does not isolate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BlockerRecord {
    /// Its address.
    pub(crate) address: String,
    /// Why it does not isolate.
    pub(crate) because: &'static str,
    /// The ACS bits that it offers and that are off.
    pub(crate) missing: Vec<&'static str>,
    /// The reason as a sentence.
    pub(crate) text: String,
}

/// What would help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RemedyRecord {
    /// What kind of thing it is.
    pub(crate) name: &'static str,
    /// What to do.
    pub(crate) text: String,
}

/// The kernel's own groups beside the predicted ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KernelGroupsRecord {
    /// The groups, in the order of the predicted ones.
    pub(crate) groups: Vec<Vec<String>>,
    /// Whether they are the same, as partitions: numbers do not count. Null where they differ only
    /// in what is uncertain, or where bridges are missing.
    pub(crate) equal: Option<bool>,
    /// Where they are not.
    pub(crate) differences: Vec<GroupDifferenceRecord>,
}

/// Groups that are cut differently, with all that they have members in common with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GroupDifferenceRecord {
    /// The predicted groups.
    pub(crate) predicted: Vec<Vec<String>>,
    /// The kernel's groups of the same functions.
    pub(crate) kernel: Vec<Vec<String>>,
    /// The difference as a sentence.
    pub(crate) text: String,
}
