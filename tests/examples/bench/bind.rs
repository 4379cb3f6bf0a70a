//! Taking one graphics card with both its functions, and giving it back.

use std::process::Command;

use vfioctl_tests::lab::Lab;

use crate::table::Aim;
use crate::timing::{PRELUDE, ROUNDS, Times};
use crate::{Bench, IN_LAB, LIMIT, Result, run};

/// What each way of doing it needs, as functions of the shell.
const WAYS: &str = r#"
    functions='0000:01:00.0 0000:01:00.1'
    libvirt=qemu:///system?socket=/run/libvirt/libvirt-sock
    vfioctl_both() {
        vfioctl bind 0000:01:00.0 && vfioctl release 0000:01:00.0
    }
    driverctl_both() {
        local function
        for function in $functions; do driverctl --nosave set-override $function vfio-pci || return; done
        for function in $functions; do driverctl --nosave unset-override $function || return; done
    }
    sysfs_both() {
        local function value
        for value in vfio-pci ''; do
            for function in $functions; do
                echo "$value" >/sys/bus/pci/devices/$function/driver_override
                echo $function >/sys/bus/pci/devices/$function/driver/unbind
                echo $function >/sys/bus/pci/drivers_probe
            done
        done
    }
    virsh_both() {
        local function
        for function in 0 1; do virsh -c "$libvirt" nodedev-detach pci_0000_01_00_$function || return; done
        for function in 0 1; do virsh -c "$libvirt" nodedev-reattach pci_0000_01_00_$function || return; done
    }
    home() {
        [[ /sys/bus/pci/devices/0000:01:00.0/driver -ef /sys/bus/pci/drivers/bochs-drm &&
            /sys/bus/pci/devices/0000:01:00.1/driver -ef /sys/bus/pci/drivers/snd_hda_intel ]] ||
            { echo "the card is not home after $1"; exit 1; }
        udevadm settle
    }
"#;

pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    let lab = bench.lab()?;
    let virsh = install_libvirt(&lab);
    let ways = match virsh {
        Ok(()) => "vfioctl driverctl sysfs virsh",
        Err(_) => "vfioctl driverctl sysfs",
    };
    let request = |verb: &str| {
        format!(
            r#"{IN_LAB}/bench client /run/vfioctl/helper.sock \
            '{{"method":"io.vfioctl.Device.{verb}","parameters":{{"address":"0000:01:00.0"}}}}'"#
        )
    };
    let (bind, release) = (request("Bind"), request("Release"));
    let script = format!(
        "{PRELUDE}{WAYS}
        vfioctl list >/dev/null
        for round in {{1..{ROUNDS}}}; do
            for way in {ways}; do
                timed $way ${{way}}_both
                home $way
            done
            one=$({bind}) && other=$({release}) || exit
            echo \"helper $((${{one#client }} + ${{other#client }}))\"
            home helper
        done"
    );
    let times = Times::parse(&run(&lab, &script)?);
    let ours = times.ms("vfioctl")?;
    let sysfs = ("bare sysfs writes", times.ms("sysfs")?);
    let table = &mut bench.table;
    let what = "lab: bind + release of a card, commands";
    let driverctl = ("driverctl, both functions", times.ms("driverctl")?);
    table.compare(what, "ms", ours, driverctl, Aim::Ratio(1.0 / 6.0));
    match virsh {
        Ok(()) => {
            let virsh = ("virsh nodedev-*", times.ms("virsh")?);
            table.compare(what, "ms", ours, virsh, Aim::None);
        }
        Err(reason) => table.skip("virsh nodedev-detach, nodedev-reattach", &reason),
    }
    table.compare(what, "ms", ours, sysfs, Aim::None);
    table.compare(
        "lab: the same, the helper's part alone",
        "ms",
        times.ms("helper")?,
        sysfs,
        Aim::Ratio(1.5),
    );
    Ok(())
}

/// Gets libvirt's packages, unpacks them into the lab and starts its service.
fn install_libvirt(lab: &Lab) -> Result<()> {
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = Command::new("scripts/lib/unpack-libvirt")
        .current_dir(repository)
        .output()
        .map_err(|error| format!("run scripts/lib/unpack-libvirt: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let folder = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    lab.push(folder.as_ref(), "/opt/libvirt")
        .map_err(|error| error.to_string())?;
    // Folders of the lab's root are links (/lib), which must stay.
    let script = "cd /opt/libvirt && tar -cf - . | tar -C / --keep-directory-symlink -xf - || exit
        rm -r /opt/libvirt
        ldconfig
        mkdir -p /etc/libvirt
        printf 'auth_unix_%s = \"none\"\\n' ro rw >/etc/libvirt/libvirtd.conf
        useradd --system --no-create-home libvirt-qemu
        libvirtd --daemon --timeout 600 </dev/null >/tmp/libvirtd 2>&1 || { cat /tmp/libvirtd; exit 1; }
        virsh -c qemu:///system?socket=/run/libvirt/libvirt-sock nodedev-list --cap pci |
            grep -q pci_0000_01_00_0";
    let output = lab.run(script, LIMIT).map_err(|error| error.to_string())?;
    match output.rc {
        0 => Ok(()),
        _ => Err(format!(
            "libvirt does not start in the lab: {}",
            output.text.trim()
        )),
    }
}
