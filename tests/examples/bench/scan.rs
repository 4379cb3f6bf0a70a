//! Looking at the whole machine, with names.

use std::process::Command;

use crate::table::Aim;
use crate::timing::{PRELUDE, ROUNDS, Times};
use crate::{Bench, Result, run};

const SIZES: [&str; 4] = ["1000", "2000", "5000", "10000"];

pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    let small = in_lab(bench);
    let large = on_synthetic_trees(bench);
    small.and(large)
}

/// The lab's machine, its helper asked too.
fn in_lab(bench: &mut Bench) -> Result<()> {
    let lab = bench.lab()?;
    let functions = run(&lab, "ls /sys/bus/pci/devices | wc -l")?;
    let script = format!(
        "{PRELUDE}
        vfioctl list --all >/dev/null
        for round in {{1..{ROUNDS}}}; do
            timed true /bin/true
            timed vfioctl vfioctl list --all
            timed version vfioctl --version
            timed lspci lspci -nnk -D
        done
        for round in {{1..5}}; do
            timed driverctl driverctl list-devices
        done"
    );
    let times = Times::parse(&run(&lab, &script)?);
    let ours = times.ms("vfioctl")?;
    let what = format!("lab, {} functions: list --all", functions.trim());
    let table = &mut bench.table;
    let lspci = ("lspci -nnk -D", times.ms("lspci")?);
    table.compare(&what, "ms", ours, lspci, Aim::Ratio(0.2));
    let driverctl = ("driverctl list-devices", times.ms("driverctl")?);
    table.compare(&what, "ms", ours, driverctl, Aim::None);
    let nothing = ("/bin/true", times.ms("true")?);
    let start = times.ms("version")?;
    table.compare("lab: vfioctl --version", "ms", start, nothing, Aim::None);
    Ok(())
}

/// Large machines, made of files on a tmpfs that is put over /sys in a mount namespace.
fn on_synthetic_trees(bench: &mut Bench) -> Result<()> {
    let own = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(own)
        .arg("tree")
        .arg(bench.folder.join("vfioctl"))
        .args(SIZES)
        .output()
        .map_err(|error| format!("run unshare: {error}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("synthetic trees: {reason}"));
    }
    let times = Times::parse(&String::from_utf8_lossy(&output.stdout));
    for size in SIZES {
        let what = format!("here, {size} synthetic functions: list --all");
        let ours = times.ms(&format!("vfioctl-{size}"))?;
        let aim = match size {
            "10000" => Aim::Below(100.0),
            _ => Aim::None,
        };
        match times.ms(&format!("lspci-{size}")) {
            Ok(lspci) => {
                let peer = ("lspci -nnk -D", lspci);
                bench.table.compare(&what, "ms", ours, peer, aim);
            }
            Err(_) => bench.table.alone(&what, "ms", ours, aim),
        }
    }
    let (small, large) = (times.ms("vfioctl-1000")?, times.ms("vfioctl-10000")?);
    let per_function = |ms: f64, functions: f64| ms * 1000.0 / functions;
    bench.table.compare(
        "time a function, of 10000",
        "µs",
        per_function(large, 10_000.0),
        ("of 1000", per_function(small, 1000.0)),
        Aim::Ratio(1.25),
    );
    Ok(())
}
