//! `vfioctl list` for people.

use crate::output::Answered;
use crate::record::{FunctionRecord, ListRecord, PinRecord};
use crate::table::Table;
use crate::width::{plain, shortened};

/// Widest name in a list; `vfioctl show` has all of it.
pub(super) const NAME_COLUMNS: usize = 44;

impl Answered for ListRecord {
    fn text(&self) -> String {
        if self.devices.is_empty() {
            return self.lost_pins_text();
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
        table.text("") + &self.lost_pins_text()
    }
}

impl ListRecord {
    /// Pins that are not kept: nobody else says that a device is missing or was exchanged.
    fn lost_pins_text(&self) -> String {
        let pins = self.pins.iter().flatten();
        pins.filter_map(|pin| {
            let problem = pin.problem.as_ref()?;
            let first = pin.addresses.first()?;
            Some(format!(
                "\npinned by {} and not kept: {}\n  because: {}\n  try: 'vfioctl release {first}' \
                 to forget the pin, or 'vfioctl recover' once that has changed\n",
                plain(&pin.owner.text()),
                pin.text(),
                plain(problem),
            ))
        })
        .collect()
    }
}

impl PinRecord {
    /// Every function with what it is: `0000:01:00.0 (10de:2684), ...`.
    pub(super) fn text(&self) -> String {
        let functions = self.addresses.iter().zip(&self.ids);
        let texts: Vec<String> = functions.map(|(at, id)| format!("{at} ({id})")).collect();
        texts.join(", ")
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
    fn a_pin_that_is_not_kept_is_told() {
        let (seen, names) = (sample::desktop_pinned(), Names::default());
        let view = View {
            seen: &seen,
            names: &names,
        };
        let text = list(view, false).text();
        let told: Vec<&str> = text
            .lines()
            .skip_while(|line| !line.starts_with("pinned"))
            .collect();
        assert_eq!(
            told,
            [
                "pinned by ann and not kept: 0000:04:00.0 (10de:2684)",
                "  because: 0000:04:00.0 is now 10ec:8168, not 10de:2684; left alone",
                "  try: 'vfioctl release 0000:04:00.0' to forget the pin, or 'vfioctl recover' \
                 once that has changed"
            ]
        );
    }

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
