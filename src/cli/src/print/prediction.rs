//! Predicted groups for people: first what shares, with who is to blame and what to try, then
//! what is alone.

use std::collections::BTreeSet;

use super::list::NAME_COLUMNS;
use crate::output::Answered;
use crate::record::{PredictionRecord, WhyRecord};
use crate::table::Table;
use crate::width::{plain, shortened};

/// Reasons that are told of one group; the others are in the JSON.
const MAX_REASONS: usize = 6;

impl Answered for PredictionRecord {
    fn text(&self) -> String {
        let mut text = self.gpus_text();
        let mut alone = Table::default();
        let mut has_alone = false;
        let is_meant = |group: &&Vec<String>| {
            self.only.is_empty() || self.only.iter().any(|one| group.contains(one))
        };
        for group in self.groups.iter().filter(is_meant) {
            if group.len() == 1 {
                has_alone = true;
                self.member_rows(group, &mut alone);
            } else {
                text.push_str(&self.group_text(group));
                text.push('\n');
            }
        }
        if has_alone {
            text.push_str("each alone in its group\n");
            text.push_str(&alone.text("  "));
            text.push('\n');
        }
        let uncovered: Vec<String> = self
            .why
            .iter()
            .filter(|(_, why)| why.group.is_none())
            .map(|(address, _)| address.clone())
            .collect();
        if !uncovered.is_empty() {
            let mut table = Table::default();
            self.member_rows(&uncovered, &mut table);
            text.push_str("in no group: no IOMMU covers them\n");
            text.push_str(&table.text("  "));
            text.push('\n');
        }
        text.push_str(&self.closing_text());
        text
    }
}

impl PredictionRecord {
    /// For each GPU whether it shares, and with how many: what most people want to know.
    fn gpus_text(&self) -> String {
        let mut text = String::new();
        for (address, why) in self.why.iter().filter(|(_, why)| why.is_gpu) {
            let Some(group) = why.group.and_then(|group| self.groups.get(group)) else {
                continue;
            };
            let others: BTreeSet<&str> = group
                .iter()
                .filter(|other| self.is_given_away(other))
                .map(|other| slot(other))
                .filter(|other| *other != slot(address))
                .collect();
            let shares = match others.len() {
                _ if why.decision == "hidden" => "perhaps shares its group".to_owned(),
                0 => "shares its group with no other device".to_owned(),
                1 => "shares its group with another device".to_owned(),
                count => format!("shares its group with {count} other devices"),
            };
            let name = shortened(&why.name, NAME_COLUMNS);
            text.push_str(&format!("{address} {}: {shares}\n", plain(&name)));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }

    /// One group that has several members.
    fn group_text(&self, group: &[String]) -> String {
        let slots: BTreeSet<&str> = group
            .iter()
            .filter(|address| self.is_given_away(address))
            .map(|address| slot(address))
            .collect();
        let is_uncertain = self.is_uncertain(group);
        let what = match slots.len() {
            0 => "bridges and parts of the platform, nothing to give away".to_owned(),
            1 => "one device, with all of its functions".to_owned(),
            _ if is_uncertain => {
                format!("{} devices, which perhaps share a group", slots.len())
            }
            count => format!("{count} devices that can only be given away together"),
        };
        let first = group.first().map_or("", String::as_str);
        let mut text = format!("group of {first}: {what}\n");
        let mut table = Table::default();
        self.member_rows(group, &mut table);
        text.push_str(&table.text("  "));
        let reasons = self.reasons(group, is_uncertain);
        for reason in reasons.iter().take(MAX_REASONS) {
            text.push_str(&format!("  because: {}\n", plain(reason)));
        }
        if let Some(more) = reasons
            .len()
            .checked_sub(MAX_REASONS)
            .filter(|more| *more > 0)
        {
            text.push_str(&format!("  because: {more} more reasons of this kind\n"));
        }
        for remedy in self.remedies(group) {
            text.push_str(&format!("  try: {}\n", plain(remedy)));
        }
        text
    }

    fn member_rows(&self, group: &[String], table: &mut Table) {
        for address in group {
            let Some(why) = self.why.get(address) else {
                continue;
            };
            table.row([
                address.clone(),
                format!("{}:{}", why.vendor_id, why.device_id),
                shortened(&why.name, NAME_COLUMNS).into_owned(),
                part_of(why).to_owned(),
            ]);
        }
    }

    /// Why the group is one, each reason once: that of the bridges above, else of neighbours.
    fn reasons(&self, group: &[String], is_uncertain: bool) -> Vec<String> {
        if is_uncertain {
            let hidden: BTreeSet<&str> = group
                .iter()
                .filter_map(|address| self.why.get(address))
                .flat_map(|why| &why.blockers)
                .filter(|blocker| blocker.because == "hidden")
                .map(|blocker| blocker.address.as_str())
                .collect();
            let whose = match hidden.into_iter().collect::<Vec<_>>() {
                bridges if bridges.is_empty() => "its members".to_owned(),
                bridges => bridges.join(", "),
            };
            return vec![format!("the registers of {whose} could not be seen")];
        }
        let mut told = BTreeSet::new();
        let mut reasons = Vec::new();
        for why in group.iter().filter_map(|address| self.why.get(address)) {
            let Some(blamed) = &why.decided_by else {
                continue;
            };
            // The functions of a device that do not isolate are one reason.
            let key = match why.decision {
                "sibling" => (why.decision, slot(blamed), why.because),
                _ => (why.decision, blamed.as_str(), why.because),
            };
            if told.insert(key) {
                reasons.push(match why.decision {
                    "bridge" => {
                        let reason = why.blockers.last().map_or("", |last| last.text.as_str());
                        format!("the bridge {blamed} does not isolate: {reason}")
                    }
                    "alias" => {
                        format!("all requests arrive under the number of the bridge {blamed}")
                    }
                    "sibling" => {
                        let (_, reason) = why.text.rsplit_once(": ").unwrap_or(("", &why.text));
                        format!(
                            "the functions of {} do not isolate from each other: {reason}",
                            slot(blamed)
                        )
                    }
                    _ => why.text.clone(),
                });
            }
        }
        reasons
    }

    /// Whether it could not be seen what decides over some member.
    fn is_uncertain(&self, group: &[String]) -> bool {
        let mut members = group.iter().filter_map(|address| self.why.get(address));
        members.any(|why| why.decision == "hidden")
    }

    /// What to try: for the GPU where there is one, else for the first that has an advice.
    fn remedies(&self, group: &[String]) -> Vec<&str> {
        let members = || group.iter().filter_map(|address| self.why.get(address));
        let advised = |why: &&WhyRecord| !why.remedies.is_empty();
        let chosen = members()
            .filter(advised)
            .find(|why| why.is_gpu)
            .or_else(|| members().find(advised));
        chosen
            .into_iter()
            .flat_map(|why| &why.remedies)
            .map(|remedy| remedy.text.as_str())
            .collect()
    }

    /// Whether a function is one that people give away: no bridge, no part of the platform.
    fn is_given_away(&self, address: &str) -> bool {
        self.why
            .get(address)
            .is_some_and(|why| part_of(why) != BRIDGE && part_of(why) != PLATFORM)
    }

    fn closing_text(&self) -> String {
        let mut text = String::new();
        if self.partial {
            text.push_str(&format!(
                "not in the dump, and taken as isolating: {}\n",
                plain(&self.missing_bridges.join(", "))
            ));
        }
        for note in &self.notes {
            text.push_str(&format!("note: {}\n", plain(note)));
        }
        match &self.kernel {
            None => {}
            Some(kernel) if kernel.equal == Some(true) => {
                text.push_str("the kernel has made the same groups\n");
            }
            Some(kernel) if kernel.equal.is_none() => {
                text.push_str(
                    "the kernel has made the same groups, except where it cannot be predicted\n",
                );
            }
            Some(kernel) => {
                text.push_str("the kernel has made other groups:\n");
                for difference in &kernel.differences {
                    text.push_str(&format!("  {}\n", difference.text));
                }
            }
        }
        text.push_str(&format!(
            "predicted after Linux 3.18 and later, with the quirk table of {}\n",
            self.quirk_table
        ));
        text
    }
}

const BRIDGE: &str = "bridge, stays with the host";
const PLATFORM: &str = "part of the platform";

/// What part a function plays in its group.
fn part_of(why: &WhyRecord) -> &'static str {
    match why.is_bridge {
        Some(true) => BRIDGE,
        _ if why.is_gpu => "GPU",
        _ if matches!(why.class_code.get(..4), Some("0600" | "0601")) => PLATFORM,
        _ => "",
    }
}

/// The device that a function belongs to: `0000:01:00` of `0000:01:00.1`.
fn slot(address: &str) -> &str {
    address.rsplit_once('.').map_or(address, |(slot, _)| slot)
}
