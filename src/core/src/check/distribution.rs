//! The distribution, and how things are done on it.

/// Which commands install a package and change the kernel command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Debian, Ubuntu and what follows them: apt.
    Debian,
    /// Fedora, RHEL and what follows them: dnf, grubby.
    Fedora,
    /// Arch and what follows it: pacman.
    Arch,
    /// openSUSE and SLES: zypper.
    Suse,
    /// Anything else; words instead of commands.
    Other,
}

/// What `os-release(5)` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribution {
    /// `ID`, empty where it is not known.
    pub id: String,
    /// `ID_LIKE`, nearest relative first.
    pub like: Vec<String>,
}

/// The names of one package.
#[derive(Debug, Clone, Copy)]
pub(super) struct Package {
    pub(super) debian: &'static str,
    pub(super) fedora: &'static str,
    pub(super) arch: &'static str,
    pub(super) suse: &'static str,
    /// What it is, for other distributions.
    pub(super) words: &'static str,
}

impl Distribution {
    /// The family, by the distribution's own name first, then by those it says it is like.
    pub fn family(&self) -> Family {
        std::iter::once(&self.id)
            .chain(&self.like)
            .find_map(|name| Family::of(name))
            .unwrap_or(Family::Other)
    }

    pub(super) fn install(&self, package: &Package) -> String {
        match self.family() {
            Family::Debian => format!("sudo apt install {}", package.debian),
            Family::Fedora => format!("sudo dnf install {}", package.fedora),
            Family::Arch => format!("sudo pacman -S {}", package.arch),
            Family::Suse => format!("sudo zypper install {}", package.suse),
            Family::Other => format!("install {}", package.words),
        }
    }

    /// Switches the IOMMU on, on the kernel command line: `vfioctl setup` knows how, but where
    /// `grubby` keeps the line, which it leaves to that.
    pub(super) fn switch_iommu_on(&self, by_hand: &str) -> String {
        match self.family() {
            Family::Fedora => by_hand.to_owned(),
            Family::Debian | Family::Arch | Family::Suse | Family::Other => {
                format!("sudo vfioctl setup && sudo reboot; or by hand: {by_hand}")
            }
        }
    }

    /// Puts a parameter on the kernel command line.
    pub(super) fn add_kernel_parameter(&self, parameter: &str) -> String {
        let add_to = |file: &str, update: &str| {
            format!(
                "add '{parameter}' to GRUB_CMDLINE_LINUX_DEFAULT in {file}, run '{update}', and \
                 start the machine again"
            )
        };
        match self.family() {
            // A file of its own, so that nothing of the administrator's is edited.
            Family::Debian => format!(
                "sudo mkdir -p /etc/default/grub.d && echo \
                 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {parameter}\"' | sudo tee -a \
                 /etc/default/grub.d/vfioctl.cfg && sudo update-grub && sudo reboot"
            ),
            Family::Fedora => {
                format!("sudo grubby --update-kernel=ALL --args={parameter} && sudo reboot")
            }
            Family::Arch => {
                add_to(
                    "/etc/default/grub",
                    "sudo grub-mkconfig -o /boot/grub/grub.cfg",
                ) + " (with systemd-boot: to 'options' in /boot/loader/entries/*.conf)"
            }
            Family::Suse => add_to(
                "/etc/default/grub",
                "sudo grub2-mkconfig -o /boot/grub2/grub.cfg",
            ),
            Family::Other => format!(
                "add '{parameter}' to the kernel command line in the boot loader, and start the \
                 machine again"
            ),
        }
    }

    /// Takes a parameter, with its value, off the kernel command line.
    pub(super) fn remove_kernel_parameter(&self, parameter: &str) -> String {
        let take_from = |update: &str| {
            format!(
                "take '{parameter}' out of /etc/default/grub (find it with 'grep -r -e \
                 {parameter} /etc/default/'), run '{update}', and start the machine again"
            )
        };
        match self.family() {
            Family::Debian => take_from("sudo update-grub"),
            Family::Fedora => {
                format!("sudo grubby --update-kernel=ALL --remove-args={parameter} && sudo reboot")
            }
            Family::Arch => take_from("sudo grub-mkconfig -o /boot/grub/grub.cfg"),
            Family::Suse => take_from("sudo grub2-mkconfig -o /boot/grub2/grub.cfg"),
            Family::Other => format!(
                "take '{parameter}' off the kernel command line in the boot loader, and start the \
                 machine again"
            ),
        }
    }
}

impl Family {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "debian" | "ubuntu" | "linuxmint" | "pop" | "raspbian" => Self::Debian,
            "fedora" | "rhel" | "centos" | "rocky" | "almalinux" | "ol" => Self::Fedora,
            "arch" | "archlinux" | "manjaro" | "endeavouros" | "cachyos" => Self::Arch,
            "suse" | "opensuse" | "opensuse-leap" | "opensuse-tumbleweed" | "sles" => Self::Suse,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution(id: &str, like: &[&str]) -> Distribution {
        let like = like.iter().map(|name| (*name).to_owned()).collect();
        Distribution {
            id: id.to_owned(),
            like,
        }
    }

    #[test]
    fn a_distribution_is_known_by_itself_or_by_what_it_is_like() {
        assert_eq!(distribution("debian", &[]).family(), Family::Debian);
        assert_eq!(
            distribution("zorin", &["ubuntu", "debian"]).family(),
            Family::Debian
        );
        assert_eq!(
            distribution("rocky", &["rhel", "centos", "fedora"]).family(),
            Family::Fedora
        );
        assert_eq!(
            distribution("opensuse-leap", &["suse"]).family(),
            Family::Suse
        );
        assert_eq!(distribution("nixos", &[]).family(), Family::Other);
        assert_eq!(Distribution::default().family(), Family::Other);
    }

    #[test]
    fn the_iommu_is_switched_on_by_the_setup() {
        let fix = |id| distribution(id, &[]).switch_iommu_on("grubby it");
        assert_eq!(fix("fedora"), "grubby it");
        assert_eq!(
            fix("ubuntu"),
            "sudo vfioctl setup && sudo reboot; or by hand: grubby it"
        );
    }

    #[test]
    fn a_kernel_parameter_on_debian_is_added_in_a_file_of_our_own() {
        assert_eq!(
            distribution("debian", &[]).add_kernel_parameter("intel_iommu=on"),
            "sudo mkdir -p /etc/default/grub.d && echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX \
             intel_iommu=on\"' | sudo tee -a \
             /etc/default/grub.d/vfioctl.cfg && sudo update-grub && sudo reboot"
        );
    }
}
