//! The story that `scripts/run` tells: an ordinary user takes a graphics card of the lab into a
//! virtual machine and home again. Every command is really typed in the lab, and what is printed
//! below it is what it answered. Ends with status 2 where anything is not as it should be.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use vfioctl_tests::lab::{EDU, GUEST, Lab, Product, Profile};

const LIMIT: Duration = Duration::from_secs(120);

/// The first graphics card, and what goes with it.
const CARD: &str = "0000:01:00.0";

/// The driver and the `driver_override` of every PCI function, as the kernel tells them, and what
/// the helper has written down.
const MACHINE: &str = "cd /sys/bus/pci/devices
    for function in *; do
        driver=$(readlink $function/driver) || :
        echo \"$function ${driver##*/} $(<$function/driver_override)\"
    done
    find /var/lib/vfioctl/claims /var/lib/vfioctl/journal -type f 2>/dev/null || :";

fn main() -> ExitCode {
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            print(&format!("\nThe story ends here: {reason}\n"));
            ExitCode::from(2)
        }
    }
}

fn tell() -> Result<(), String> {
    let product = Product::build().map_err(|error| error.to_string())?;
    let lab =
        Lab::restore_installed(Profile::Plain, &product).map_err(|error| error.to_string())?;
    lab.rescan(EDU).map_err(|error| error.to_string())?;
    let before = root(&lab, MACHINE)?;
    let create = format!(
        "vfioctl vm create demo --memory 64MiB --kernel {GUEST} --append wait \
         --device {CARD} --device {EDU}"
    );

    say(
        "This is the lab: an emulated machine with an IOMMU and graphics cards, running Debian's \
         own kernel and systemd. vfioctl has been installed in it by scripts/install. Alice is an \
         ordinary user in the group 'vfioctl'. She has no other right.",
    );
    alice(&lab, "id")?;
    say(
        "Is this machine fit to give devices away? 'fail' is right here: the lab is emulated and \
         has no KVM, so guests are slow. Whatever is not well comes with its remedy.",
    );
    expect(&lab, "vfioctl check", 1)?;
    say("Which GPUs are there, and who has them?");
    alice(&lab, "vfioctl list")?;
    say(
        "How do they hang together? Functions of one group cannot be kept apart, and go together. \
         Cards 03:00.0 and 04:00.0 share group 5, because the ports above them lack ACS.",
    );
    alice(&lab, "vfioctl groups --tree")?;

    say(
        "Someone clears ACS on the port above a switch, for speed. The two cards behind the switch \
         then share a group, and the audit says who is to blame.",
    );
    alice(&lab, "vfioctl acs set 00:06.0 -rr,-cr --regroup")?;
    expect(&lab, "vfioctl acs audit 07:00.0", 1)?;
    say(
        "An override sets the bits and has the kernel find and group the cards anew; what it will \
         make of them is known before. The switch itself has no ACS, and that is said too.",
    );
    alice(&lab, "vfioctl acs override 07:00.0")?;
    expect(&lab, "vfioctl acs audit 07:00.0", 1)?;
    say("And for the cards on ports that cannot isolate, it tells the truth.");
    expect(&lab, "vfioctl acs override 03:00.0", 1)?;

    say("What would be done to give the first card away? Nothing is changed yet.");
    alice(&lab, &format!("vfioctl bind --plan {CARD}"))?;
    say("She takes it. Its sound function goes with it.");
    alice(&lab, &format!("vfioctl bind {CARD}"))?;
    say("It is hers now. lspci, which knows nothing of vfioctl, tells the same.");
    alice(&lab, "vfioctl list | head -n 5")?;
    lspci(&lab, ["vfio-pci", "vfio-pci"])?;
    say("And back. The drivers it had before take it again.");
    alice(&lab, &format!("vfioctl release {CARD}"))?;
    lspci(&lab, ["bochs-drm", "snd_hda_intel"])?;

    say(
        "Now a virtual machine, with the card and with a device that does DMA (09:00.0). The guest \
         is a small program that tests each device that it finds.",
    );
    alice(&lab, &create)?;
    until_waiting(&lab)?;
    say(
        "This is what the guest printed: it has the card's two functions, and the device with DMA. \
         Data went through the IOMMU and back, and interrupts arrived. Last, it had the device \
         write to memory that is not the guest's.",
    );
    let log = alice(&lab, "vfioctl vm logs demo")?;
    for words in ["1234:1111", "8086:293e", "1234:11e8", " fails=0"] {
        if !log.contains(words) {
            return Err(format!("the guest did not print '{words}'"));
        }
    }
    say("That write was stopped by the IOMMU of the host, whose kernel says so.");
    let stopped = "dmesg | grep 'DMAR.*fault addr'";
    print(&format!("\nroot@lab# {stopped}\n{}", root(&lab, stopped)?));
    say("QEMU runs as alice (1001), without any capability, and confined.");
    let confined = "grep -E '^(Name|Uid|CapEff|NoNewPrivs|Seccomp):' /proc/$(pgrep qemu)/status";
    alice(&lab, confined)?;
    say("While it runs, the card is the machine's. Then she presses its power button.");
    alice(&lab, "vfioctl list | head -n 3")?;
    alice(&lab, "vfioctl vm stop demo")?;
    alice(&lab, "vfioctl vm rm demo")?;

    say("Everything is home, and nothing is left to recover.");
    alice(&lab, "vfioctl list | head -n 3")?;
    alice(&lab, "vfioctl recover --plan")?;
    lspci(&lab, ["bochs-drm", "snd_hda_intel"])?;
    let after = root(&lab, MACHINE)?;
    if before != after {
        return Err(format!(
            "the machine is not as it was. Before:\n{before}Now:\n{after}"
        ));
    }
    let functions = before.lines().count();
    drop(lab);
    tell_of_a_cluster(&product)?;
    print(&format!(
        "\nDONE: the driver and the driver_override of all {functions} PCI functions are as they \
         were.\n\n\
         What next?\n  \
           scripts/lab            a shell in the lab, as alice: try it yourself\n  \
           scripts/test           run every test\n  \
           scripts/run ADDRESS    the same with a device of this machine, where it has an IOMMU\n",
    ));
    Ok(())
}

/// The same machine as a cluster of one node, with containers.
fn tell_of_a_cluster(product: &Product) -> Result<(), String> {
    let lab =
        Lab::restore_installed(Profile::Engines, product).map_err(|error| error.to_string())?;
    // What an administrator has done: containers are root on the node, so this is no small thing.
    root(&lab, "usermod --append --groups docker alice")?;
    say(
        "The same machine, with Docker now. A host, its store and a runner of this machine start \
         together, to try a cluster: nothing is configured, and nothing listens beyond the loopback.",
    );
    let dev = "vfioctl-host dev -- --default-image localhost/lab:1 >dev.log 2>&1 &";
    let wait =
        "for i in {1..100}; do grep -q registered dev.log && break; sleep 0.1; done; cat dev.log";
    alice(&lab, &format!("{dev}\n{wait}"))?;
    say("Work in a container that has two of the cards, and no other.");
    let submit = "vfioctl task submit -t lab::0,1 --name look --wait -- ls /dev/dri";
    alice(&lab, submit)?;
    let seen = alice(&lab, "vfioctl task logs look")?;
    if seen.matches("card").count() != 2 {
        return Err(format!(
            "the container should see two cards, and sees {seen}"
        ));
    }
    say("And the node as the cluster sees it.");
    alice(&lab, "vfioctl node status lab")?;
    Ok(())
}

/// Waits until the guest has tested its devices.
fn until_waiting(lab: &Lab) -> Result<(), String> {
    let script = "for i in {1..120}; do
            vfioctl vm logs demo 2>&1 | grep -q ^WAITING && exit
            sleep 0.5
        done
        vfioctl vm logs demo; vfioctl vm logs --qemu demo; exit 1";
    let output = lab
        .run_as("alice", script, LIMIT)
        .map_err(|error| error.to_string())?;
    match output.rc {
        0 => Ok(()),
        _ => Err(format!(
            "the guest did not come to its end:\n{}",
            output.text
        )),
    }
}

/// Has lspci tell the drivers of the card's two functions.
fn lspci(lab: &Lab, drivers: [&str; 2]) -> Result<(), String> {
    let text = alice(lab, "lspci -k -s 01:00")?;
    let found: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("Kernel driver in use: "))
        .map(|(_, driver)| driver)
        .collect();
    if found == drivers {
        Ok(())
    } else {
        Err(format!(
            "the drivers should be {drivers:?}, and are {found:?}"
        ))
    }
}

/// Types a command that should do what it says.
fn alice(lab: &Lab, command: &str) -> Result<String, String> {
    expect(lab, command, 0)
}

/// Types a command that should end with that status.
fn expect(lab: &Lab, command: &str, status: i32) -> Result<String, String> {
    print(&format!("\nalice@lab$ {command}\n"));
    let output = lab
        .run_as("alice", command, LIMIT)
        .map_err(|error| error.to_string())?;
    print(&output.text);
    if output.rc == status {
        Ok(output.text)
    } else {
        Err(format!(
            "'{command}' ended with status {}; it should be {status}",
            output.rc
        ))
    }
}

fn root(lab: &Lab, script: &str) -> Result<String, String> {
    let output = lab.run(script, LIMIT).map_err(|error| error.to_string())?;
    output.success().map_err(|error| error.to_string())
}

/// Prints a paragraph of the story, in lines that fit a terminal.
fn say(text: &str) {
    let mut lines = vec![String::from("\n#")];
    for word in text.split_whitespace() {
        if lines
            .last()
            .is_some_and(|line| line.len() + word.len() > 78)
        {
            lines.push("#".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    print(&format!("{}\n", lines.join("\n")));
}

/// Where nobody reads any more, there is nobody to tell that either.
fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}
