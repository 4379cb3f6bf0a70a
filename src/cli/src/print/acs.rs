//! How isolation reads: audits, and changes.

use std::fmt::Write as _;

use crate::output::Answered;
use crate::record::{AuditRecord, AuditedRecord, HopRecord, RegroupRecord};
use crate::table::Table;
use crate::width::plain;

impl Answered for AuditRecord {
    fn text(&self) -> String {
        let mut text = String::new();
        for device in &self.devices {
            device_text(device, &mut text);
        }
        for switch in &self.open_switches {
            let _ = writeln!(
                text,
                "! switch {}: its ports {} do not isolate; the kernel separates what is behind \
                 them, the switch may route between them",
                switch.upstream_port,
                switch.ports.join(", ")
            );
        }
        for change in self.changes.iter().flatten() {
            let user = change
                .user
                .clone()
                .unwrap_or_else(|| format!("user {}", change.uid));
            let _ = writeln!(
                text,
                "changed since the boot: {} from {} to {}, by {}; 'vfioctl acs restore {}' takes \
                 it back",
                change.address,
                bits(&change.before),
                bits(&change.after),
                plain(&user),
                change.address,
            );
        }
        text
    }
}

fn device_text(device: &AuditedRecord, text: &mut String) {
    let group = device
        .iommu_group
        .map_or_else(|| "no group".to_owned(), |group| format!("group {group}"));
    let _ = writeln!(
        text,
        "{} {}\n  {group}: {}",
        device.address,
        plain(&device.name),
        device.text
    );
    let mut sentence = |mark: &str, words: &str, partners: &[String]| {
        if !partners.is_empty() {
            let _ = writeln!(text, "  {mark} {words} {}", partners.join(", "));
        }
    };
    sentence(
        "!",
        "the kernel has it in one group with",
        &device.kernel_partners,
    );
    let apart: Vec<String> = device
        .register_partners
        .iter()
        .filter(|at| !device.kernel_partners.contains(at))
        .cloned()
        .collect();
    sentence(
        "!",
        "the kernel separates it, and the registers do not, from",
        &apart,
    );
    sentence(
        "!",
        "past the IOMMU, through a switch, it may reach",
        &device.switch_partners,
    );
    let mut table = Table::default();
    for hop in &device.hops {
        table.row(hop_cells(hop));
    }
    text.push_str(&table.text("    "));
}

fn hop_cells(hop: &HopRecord) -> Vec<String> {
    let mark = match hop.isolates {
        Some(true) => "isolates",
        Some(false) => "DOES NOT isolate",
        None => "cannot see",
    };
    let bits: Vec<String> = hop
        .acs
        .iter()
        .flat_map(|acs| &acs.bits)
        .map(|bit| format!("{}{}", bit.name, if bit.is_on { '+' } else { '-' }))
        .collect();
    let bits = if bits.is_empty() {
        "-".to_owned()
    } else {
        bits.join(" ")
    };
    let kind = hop.pcie_type.clone().unwrap_or_else(|| "PCI bridge".into());
    vec![
        hop.address.clone(),
        kind,
        bits,
        format!("{mark}: {}", hop.because),
    ]
}

fn bits(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(",")
    }
}

impl Answered for RegroupRecord {
    fn text(&self) -> String {
        let mut text = String::new();
        if self.planned {
            for (index, step) in self.steps.iter().enumerate() {
                let _ = writeln!(text, "  {}. {}", index + 1, plain(&step.text));
            }
        }
        for other in &self.others {
            let _ = writeln!(text, "{}: {}", other.address, plain(&other.message));
            if let Some(hint) = &other.hint {
                let _ = writeln!(text, "  try: {}", plain(hint));
            }
        }
        if self.steps.is_empty() && self.ports.is_empty() {
            text.push_str("nothing to do\n");
            return text;
        }
        let after = self.groups_now.as_ref().unwrap_or(&self.groups_predicted);
        if *after == self.groups_before {
            text.push_str("the groups stay as they are\n");
        } else {
            text.push_str("groups before\n");
            groups_text(&self.groups_before, &mut text);
            text.push_str(if self.planned {
                "groups afterwards, as predicted\n"
            } else {
                "groups now, as predicted\n"
            });
            groups_text(after, &mut text);
        }
        if self.planned {
            text.push_str("nothing was changed\n");
        }
        text
    }
}

fn groups_text(groups: &[Vec<String>], text: &mut String) {
    for group in groups {
        let _ = writeln!(text, "  {}", group.join(" "));
    }
}
