//! A machine with any number of PCI functions, as files. Runs in a mount namespace of its own.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Result;
use crate::timing::ROUNDS;

/// Functions of one card, on a bus of their own behind a root port.
const FUNCTIONS_A_BUS: usize = 8;
/// Root ports of one domain.
const PORTS_A_DOMAIN: usize = 248;

/// Identity, class and driver of what the slots are filled with.
const CARDS: [(&str, &str, &str, &str); 4] = [
    ("10de:2684", "10de:16f3", "030000", "nvidia"),
    ("1002:744c", "1002:0e3b", "030000", "amdgpu"),
    ("8086:10d3", "8086:a01f", "020000", "e1000e"),
    ("144d:a80a", "144d:a801", "010802", "nvme"),
];
const PORT: (&str, &str, &str, &str) = ("8086:347a", "8086:0000", "060400", "pcieport");

/// Makes a machine of each size, puts it over `/sys`, and times who lists it.
pub(crate) fn main(program: &str, sizes: &[&str]) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("vfioctl-bench-{}", std::process::id()));
    let text = |error: std::io::Error| format!("make a machine of files: {error}");
    fs::create_dir(&folder).map_err(text)?;
    let done = list_each(program, sizes, &folder);
    // The namespace ends with this program, and with it what is mounted; only the folder stays.
    let _ = run("umount", &["--lazy", &folder.to_string_lossy()]);
    fs::remove_dir(&folder).map_err(text)?;
    done
}

fn list_each(program: &str, sizes: &[&str], folder: &Path) -> Result<()> {
    run(
        "mount",
        &["-t", "tmpfs", "tmpfs", &folder.to_string_lossy()],
    )?;
    for size in sizes {
        let functions: usize = size.parse().map_err(|_| format!("'{size}' is no number"))?;
        let sys = folder.join(size);
        write_machine(&sys, functions).map_err(|error| format!("make a machine: {error}"))?;
        run("mount", &["--bind", &sys.to_string_lossy(), "/sys"])?;
        for _ in 0..ROUNDS {
            time(
                &format!("vfioctl-{size}"),
                program,
                &["--socket", "/nonexistent", "list", "--all"],
            )?;
            // Not everywhere installed, and only a comparison here.
            let _ = time(&format!("lspci-{size}"), "lspci", &["-nnk", "-D"]);
        }
        run("umount", &["/sys"])?;
    }
    Ok(())
}

fn time(name: &str, program: &str, arguments: &[&str]) -> Result<()> {
    let start = Instant::now();
    run(program, arguments)?;
    let took = start.elapsed().as_micros();
    writeln!(std::io::stdout(), "{name} {took}").map_err(|error| error.to_string())
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("run {program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{program} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

fn write_machine(sys: &Path, functions: usize) -> std::io::Result<()> {
    for folder in ["bus/pci/devices", "bus/pci/drivers", "class/net", "block"] {
        fs::create_dir_all(sys.join(folder))?;
    }
    let mut written = 0;
    for bus in 0.. {
        let domain = format!("{:04x}", bus / PORTS_A_DOMAIN);
        let port = bus % PORTS_A_DOMAIN;
        let above = format!("devices/pci{domain}:00");
        let address = format!("{domain}:00:{:02x}.{}", 1 + port / 8, port % 8);
        write_function(sys, &above, &address, PORT, written)?;
        written += 1;
        for function in 0..FUNCTIONS_A_BUS {
            if written >= functions {
                return Ok(());
            }
            let below = format!("{above}/{address}");
            let card = CARDS.get(bus % CARDS.len()).copied().unwrap_or(PORT);
            let address = format!("{domain}:{:02x}:00.{function}", port + 1);
            write_function(sys, &below, &address, card, written)?;
            written += 1;
        }
    }
    Ok(())
}

fn write_function(
    sys: &Path,
    above: &str,
    address: &str,
    (identity, subsystem, class, driver): (&str, &str, &str, &str),
    group: usize,
) -> std::io::Result<()> {
    let place = format!("{above}/{address}");
    let folder = sys.join(&place);
    fs::create_dir_all(&folder)?;
    let (vendor, device) = identity.split_once(':').unwrap_or_default();
    let (subvendor, subdevice) = subsystem.split_once(':').unwrap_or_default();
    let uevent = format!(
        "DRIVER={driver}\nPCI_CLASS={}\nPCI_ID={}\nPCI_SUBSYS_ID={}\nPCI_SLOT_NAME={address}\n",
        class.trim_start_matches('0'),
        identity.to_uppercase(),
        subsystem.to_uppercase()
    );
    let modalias = format!(
        "pci:v0000{}d0000{}sv0000{}sd0000{}bc{}sc{}i{}\n",
        vendor.to_uppercase(),
        device.to_uppercase(),
        subvendor.to_uppercase(),
        subdevice.to_uppercase(),
        class.get(..2).unwrap_or_default(),
        class.get(2..4).unwrap_or_default(),
        class.get(4..).unwrap_or_default(),
    );
    let resource = "0x00000000f0000000 0x00000000f0ffffff 0x0000000000040200\n".to_owned()
        + &"0x0000000000000000 0x0000000000000000 0x0000000000000000\n".repeat(6);
    for (name, content) in [
        ("uevent", uevent),
        ("modalias", modalias),
        ("resource", resource),
        ("vendor", format!("0x{vendor}\n")),
        ("device", format!("0x{device}\n")),
        ("subsystem_vendor", format!("0x{subvendor}\n")),
        ("subsystem_device", format!("0x{subdevice}\n")),
        ("class", format!("0x{class}\n")),
        ("numa_node", "0\n".into()),
        ("irq", "16\n".into()),
        ("power_state", "D0\n".into()),
        ("reset_method", "flr bus\n".into()),
        ("driver_override", "(null)\n".into()),
    ] {
        fs::write(folder.join(name), content)?;
    }
    fs::write(
        folder.join("config"),
        config_space(identity, subsystem, class),
    )?;
    let up = "../".repeat(place.split('/').count());
    let driver_folder = sys.join("bus/pci/drivers").join(driver);
    fs::create_dir_all(driver_folder)?;
    symlink(
        format!("{up}bus/pci/drivers/{driver}"),
        folder.join("driver"),
    )?;
    let members = sys.join(format!("kernel/iommu_groups/{group}/devices"));
    fs::create_dir_all(&members)?;
    symlink(
        format!("{up}kernel/iommu_groups/{group}"),
        folder.join("iommu_group"),
    )?;
    symlink(format!("../../../../{place}"), members.join(address))?;
    symlink(
        format!("../../../{place}"),
        sys.join("bus/pci/devices").join(address),
    )
}

/// Config space of PCI Express, with the capability that says so at 0x40, and ACS at 0x100.
fn config_space(identity: &str, subsystem: &str, class: &str) -> Vec<u8> {
    let word = |text: &str| {
        u16::from_str_radix(text, 16)
            .unwrap_or_default()
            .to_le_bytes()
    };
    let pair = |text: &str| {
        let (one, other) = text.split_once(':').unwrap_or_default();
        [word(one), word(other)].concat()
    };
    let is_bridge = class == PORT.2;
    let class = u32::from_str_radix(class, 16).unwrap_or_default() << 8;
    let mut space = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| {
        for (place, byte) in space.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    };
    put(0x00, &pair(identity));
    put(0x06, &[0x10, 0x00]);
    put(0x08, &class.to_le_bytes());
    put(0x0e, &[if is_bridge { 0x01 } else { 0x80 }]);
    put(0x2c, &pair(subsystem));
    put(0x34, &[0x40]);
    put(
        0x40,
        &[0x10, 0x00, if is_bridge { 0x42 } else { 0x02 }, 0x00],
    );
    put(0x100, &[0x0d, 0x00, 0x01, 0x00, 0x5d, 0x00, 0x1d, 0x00]);
    space
}
