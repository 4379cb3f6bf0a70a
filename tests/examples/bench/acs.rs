//! Splitting one card off its group: the helper's part beside the bare writes that it needs.

use crate::table::Aim;
use crate::timing::{PRELUDE, ROUNDS, Times};
use crate::{Bench, IN_LAB, Result, run};

/// The port above the second card; both functions of the card have bit 7, so they come back
/// together.
const PORT: &str = "0000:00:04.1";

pub(crate) fn measure(bench: &mut Bench) -> Result<()> {
    let lab = bench.lab()?;
    let request = |method: &str, parameters: &str| {
        format!(
            r#"{IN_LAB}/bench client /run/vfioctl/helper.sock \
            '{{"method":"io.vfioctl.Acs.{method}","parameters":{{{parameters}}}}}'"#
        )
    };
    let bits = |bits: &str| format!(r#""address":"{PORT}","bits":"{bits}","regroup":true"#);
    let (clear, set) = (
        request("Set", &bits("-rr,-cr")),
        request("Set", &bits("+rr,+cr")),
    );
    // What the helper writes: both drivers let go, the register, both functions, one search; the
    // kernel binds the drivers again by itself.
    let script = format!(
        "{PRELUDE}
        bare() {{
            local function
            cd /sys/bus/pci/devices
            for function in 0 1; do
                echo 0000:02:00.$function >0000:02:00.$function/driver/unbind
            done
            setpci -s {PORT} ECAP_ACS+6.w=$1
            for function in 1 0; do echo 1 >0000:02:00.$function/remove; done
            echo 1 >{PORT}/pci_bus/0000:02/rescan
        }}
        both() {{ bare 0011 && bare 001d; }}
        vfioctl list >/dev/null
        for round in {{1..{ROUNDS}}}; do
            timed bare both
            udevadm settle
            one=$({clear}) && other=$({set}) || exit
            echo \"helper $((${{one#client }} + ${{other#client }}))\"
            udevadm settle
        done"
    );
    let times = Times::parse(&run(&lab, &script)?);
    let bare = ("bare writes", times.ms("bare")?);
    bench.table.compare(
        "lab: two regroupings of a slot, the helper's part",
        "ms",
        times.ms("helper")?,
        bare,
        Aim::Ratio(1.3),
    );
    Ok(())
}
