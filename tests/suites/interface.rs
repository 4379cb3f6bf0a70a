//! The interface of a host, from outside: who may use what, what it does with whatever is sent to it, and
//! whether it is what its description says. Against a real host, over TLS.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on shall end"
)]

mod interface {
    pub(crate) mod access;
    pub(crate) mod description;
    pub(crate) mod hostile;
    pub(crate) mod secrets;
}

use std::process::ExitCode;

use vfioctl_tests::cluster::act_if_asked;
use vfioctl_tests::suite;

fn main() -> ExitCode {
    if let Some(status) = act_if_asked() {
        return status;
    }
    let mut trials = interface::access::trials();
    trials.extend(interface::description::trials());
    trials.extend(interface::hostile::trials());
    trials.extend(interface::secrets::trials());
    suite::run(trials)
}
