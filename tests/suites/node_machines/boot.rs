//! A machine that boots Debian, from its start until nothing of it is left.

use std::path::Path;
use std::time::Instant;

use vfioctl_api::{LogStream, Phase, Wanted};
use vfioctl_image::Image;
use vfioctl_runner::machine::QEMU;
use vfioctl_tests::debian::KeyPair;
use vfioctl_tests::node::site::Site;

use super::place::{Place, machines, submission};

pub(crate) fn whole_life(image: &Image) {
    let site = Site::new(Path::new(QEMU), &[image]).unwrap();
    let setup = machines(&site);
    let mut place = Place::at(site, setup.clone(), Vec::new());
    let keys = tempfile::tempdir().unwrap();
    let key = KeyPair::make(keys.path(), "user").unwrap();
    let stranger = KeyPair::make(keys.path(), "stranger").unwrap();
    let start = Instant::now();
    let submission = submission(image.name.as_str(), 1024, &[&key.public]);
    let mut order = place.node.submit(&submission);
    let access = place.wait_for_ssh(&order);
    eprintln!(
        "the first run was reached by SSH after {:?}",
        start.elapsed()
    );
    assert_eq!((access.user.as_str(), access.port), ("ann", 43_000));
    let told: Vec<String> = place
        .node
        .phases(&order)
        .iter()
        .filter_map(progress)
        .collect();
    let expected = ["making the disk", "starting QEMU", "booting"];
    for sentence in expected {
        assert!(
            told.iter().any(|told| told == sentence),
            "no '{sentence}' in {told:?}"
        );
    }
    let run = |place: &Place, command: &str| {
        let deadline = Instant::now() + super::place::BOOT;
        loop {
            let (status, text) = place.site.ssh(&access, &key.private, command);
            // The server is up before users may log in (`pam_nologin(8)`), or cloud-init has made them.
            if status == 0 || Instant::now() > deadline || status != 255 {
                assert_eq!(status, 0, "{command}: {text}");
                return text;
            }
        }
    };
    assert_eq!(run(&place, "hostname"), "box\n");
    assert_eq!(place.site.ssh(&access, &stranger.private, "true").0, 255);
    run(&place, "echo kept >note; sync; sudo sync");
    // The runner is killed, and the machine does not notice.
    place.node.restart();
    assert_eq!(place.wait_for_ssh(&order), access);
    run(&place, "cat note");
    place.node.want(&mut order, Wanted::Stop);
    assert_eq!(place.node.wait_until_over(&order), Phase::Stopped);
    place.assert_nothing_runs();
    let said = place.node.read_log(&order, LogStream::Stderr, 0, false);
    assert!(said.contains("vfioctl: the guest powered off\n"), "{said}");
    let console = place.node.read_log(&order, LogStream::Stdout, 0, true);
    assert!(console.contains("Linux version"), "{console}");
    // Again, by QEMU's own network.
    place.node.set_machines(vfioctl_tests::node::MachineSetup {
        passt: "/nonexistent/passt".into(),
        ..setup
    });
    place.node.restart();
    let problems = place.node.report().problems;
    assert!(
        problems.iter().any(|told| told.contains("passt")),
        "{problems:?}"
    );
    let start = Instant::now();
    place.start_again(&mut order);
    assert_eq!(
        place.wait_for_ssh(&order),
        access,
        "the same port and the same key"
    );
    eprintln!(
        "the second run was reached by SSH after {:?}",
        start.elapsed()
    );
    assert_eq!(run(&place, "cat note"), "kept\n");
    let processes = place.site.processes();
    assert!(
        processes.iter().all(|line| !line.contains("passt")),
        "{processes:#?}"
    );
    place.remove(&mut order);
}

fn progress(phase: &Phase) -> Option<String> {
    match phase {
        Phase::Starting { progress } => Some(progress.clone()),
        Phase::Running { progress, .. } => progress.clone(),
        _ => None,
    }
}
