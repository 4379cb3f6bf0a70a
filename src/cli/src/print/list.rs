//! `vfioctl list` for people.

use crate::output::Answered;
use crate::record::{FunctionRecord, ListRecord};
use crate::table::Table;
use crate::width::shortened;

/// Widest name in a list; `vfioctl show` has all of it.
pub(super) const NAME_COLUMNS: usize = 44;

impl Answered for ListRecord {
    fn text(&self) -> String {
        if self.devices.is_empty() {
            return String::new();
        }
        let mut table =
            Table::titled(&["ADDRESS", "ID", "NAME", "CLASS", "DRIVER", "GROUP", "STATE"]);
        let mut was_alone: Option<bool> = None;
        for device in &self.devices {
            // Functions of one device stand together; those that are alone need no gap.
            let is_alone = device.functions.len() == 1;
            if was_alone.is_some_and(|was_alone| !was_alone || !is_alone) {
                table.gap();
            }
            was_alone = Some(is_alone);
            for function in &device.functions {
                table.row(cells(function));
            }
        }
        table.text("")
    }
}

fn cells(function: &FunctionRecord) -> [String; 7] {
    [
        function.address.clone(),
        id(function),
        shortened(&function.name, NAME_COLUMNS).into_owned(),
        class(function),
        or_none(function.driver.clone()),
        or_none(function.iommu_group.map(|group| group.to_string())),
        function.state.text.clone(),
    ]
}

/// Vendor and device ID, as people write them.
pub(super) fn id(function: &FunctionRecord) -> String {
    format!("{}:{}", function.vendor_id, function.device_id)
}

/// Name of the class, or its number.
pub(super) fn class(function: &FunctionRecord) -> String {
    function
        .class
        .clone()
        .unwrap_or_else(|| format!("class {}", function.class_code))
}

/// A mark where there is nothing, so that columns can be told apart by programs too.
pub(super) fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;
    use crate::sample;
    use crate::verb::list::list;
    use crate::view::View;

    #[test]
    fn gpus_stand_with_all_functions_of_their_slot() {
        let (seen, names) = (sample::desktop(), Names::default());
        let text = list(
            View {
                seen: &seen,
                names: &names,
            },
            false,
        )
        .text();
        assert_eq!(text, "\
ADDRESS       ID         NAME                                          CLASS                      DRIVER         GROUP  STATE
0000:01:00.0  10de:2684  NVIDIA AD102 [GeForce RTX 4090]               VGA compatible controller  vfio-pci       12     yours
0000:01:00.1  10de:22ba  NVIDIA AD102 High Definition Audio Controll…  Audio device               snd_hda_intel  12     yours

0000:02:00.0  1002:744c  AMD/ATI Navi 31 [Radeon RX 7900 XT/7900 XTX…  VGA compatible controller  vfio-pci       13     claimed by machine 'win' of bob
");
    }
}
