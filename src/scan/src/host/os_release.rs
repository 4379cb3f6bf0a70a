//! `/etc/os-release`, or `/usr/lib/os-release`: the distribution (`os-release(5)`).

use vfioctl_core::check::Distribution;

use crate::SysRoot;

pub(super) fn read_distribution(root: &SysRoot) -> Distribution {
    // The first is often a link to the second; it leads out of /etc and is not followed.
    let text = root
        .etc
        .read_text("os-release")
        .ok()
        .flatten()
        .or_else(|| root.usr.read_text("lib/os-release").ok().flatten());
    parse_os_release(&text.unwrap_or_default())
}

fn parse_os_release(text: &str) -> Distribution {
    let value = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key == name).then(|| value.trim_matches(['"', '\'']))
        })
    };
    Distribution {
        id: value("ID").unwrap_or_default().to_owned(),
        like: value("ID_LIKE")
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_relatives_are_read() {
        let text = "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n";
        let like = ["rhel", "centos", "fedora"].map(str::to_owned).to_vec();
        assert_eq!(
            parse_os_release(text),
            Distribution {
                id: "rocky".to_owned(),
                like
            }
        );
        assert_eq!(parse_os_release(""), Distribution::default());
    }
}
