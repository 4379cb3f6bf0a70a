//! `vfioctl cdi` for people.

use crate::output::Answered;
use crate::record::{CdiDeviceRecord, GeneratedSpecRecord, SpecsRecord};
use crate::table::Table;
use crate::width::plain;

impl Answered for GeneratedSpecRecord {
    fn text(&self) -> String {
        match (&self.file, &self.spec) {
            (Some(file), Some(_)) => format!("written to '{}'\n", plain(file)),
            // The specification itself is the answer, for engines.
            (None, Some(spec)) => serde_json::to_string_pretty(spec).unwrap_or_default() + "\n",
            (_, None) => String::new(),
        }
    }
}

impl Answered for SpecsRecord {
    fn text(&self) -> String {
        if self.specs.is_empty() {
            return String::new();
        }
        let mut table = Table::titled(&["DEVICE", "NODES", "WAY", "FILE"]);
        for spec in &self.specs {
            for device in &spec.devices {
                table.row([
                    device.name.clone(),
                    device.nodes.join(" "),
                    way(device).to_owned(),
                    spec.file.clone(),
                ]);
            }
        }
        table.text("")
    }
}

fn way(device: &CdiDeviceRecord) -> &'static str {
    if device.needs_engine {
        "engine"
    } else {
        "plain"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SpecFileRecord;

    #[test]
    fn devices_are_listed_with_their_nodes() {
        let device = |name: &str, node: &str, needs_engine| CdiDeviceRecord {
            name: name.into(),
            nodes: vec![node.into()],
            needs_engine,
        };
        let record = SpecsRecord {
            specs: vec![SpecFileRecord {
                file: "/etc/cdi/x.json".into(),
                kind: "nvidia.com/gpu".into(),
                version: "0.5.0".into(),
                devices: vec![
                    device("nvidia.com/gpu=0", "/dev/nvidia0", true),
                    device("vfioctl.dev/gpu=0000:03:00.0", "/dev/dri/card0", false),
                ],
            }],
            problems: Vec::new(),
        };
        let expected = "\
DEVICE                        NODES           WAY     FILE
nvidia.com/gpu=0              /dev/nvidia0    engine  /etc/cdi/x.json
vfioctl.dev/gpu=0000:03:00.0  /dev/dri/card0  plain   /etc/cdi/x.json
";
        assert_eq!(record.text(), expected);
    }
}
