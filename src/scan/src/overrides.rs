//! `driver_override`, read so that a device whose driver hangs does not hold the reader.
//!
//! Kernel: `drivers/pci/pci-sysfs.c`, `driver_override_show`, takes the device's lock, which an
//! unbind or bind that hangs holds for as long as it likes; the reader then waits with it and
//! cannot be killed (so does `uevent`, which is not read at all). Other attributes take no lock. So
//! these are read by a thread of their own; where it does not come back it is left behind, at most
//! one for a device.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::Read as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vfioctl_core::Answer;
use vfioctl_core::pci::PciAddress;

use crate::function::{DEVICES, parse_override};
use crate::{ReadError, SysRoot};

/// An honest bind or unbind holds the lock for some hundred milliseconds; what takes longer than
/// this is not waited for.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What was read, or why it was not.
pub(crate) type Override = Result<Answer<Option<String>>, ReadError>;

/// The devices at which a reader hangs now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stalled(Arc<Mutex<BTreeSet<PciAddress>>>);

impl Stalled {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<PciAddress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Queue = Arc<Mutex<VecDeque<(PciAddress, File)>>>;
type Read = (PciAddress, std::io::Result<String>);

/// Reads the `driver_override` of each device. `CannotSee`: the device is locked.
pub(crate) fn read_overrides(
    root: &SysRoot,
    addresses: &[PciAddress],
) -> BTreeMap<PciAddress, Override> {
    let mut read = BTreeMap::new();
    let mut queue = VecDeque::new();
    for address in addresses {
        let path = format!("{DEVICES}/{address}/driver_override");
        if root.stalled.lock().contains(address) {
            read.insert(*address, Ok(Answer::CannotSee));
            continue;
        }
        // Opening takes no lock.
        match root.sys.open_file(&path) {
            Ok(Some(file)) => queue.push_back((*address, File::from(file))),
            Ok(None) => drop(read.insert(*address, Ok(Answer::Known(None)))),
            Err(error) => drop(read.insert(*address, Err(error))),
        }
    }
    let mut waiting: BTreeSet<PciAddress> = queue.iter().map(|(address, _)| *address).collect();
    let queue: Queue = Arc::new(Mutex::new(queue));
    while !waiting.is_empty() {
        let (results, is_hung) = (start_reader(root, &queue), Arc::clone(&queue));
        collect(root, &results, &mut waiting, &mut read);
        // The reader that hangs holds the first one that is still waited for; the rest of the
        // queue goes to another reader.
        let left: BTreeSet<PciAddress> = lock(&is_hung).iter().map(|(at, _)| *at).collect();
        for address in std::mem::take(&mut waiting) {
            if left.contains(&address) {
                waiting.insert(address);
            } else {
                read.insert(address, Ok(Answer::CannotSee));
            }
        }
    }
    read
}

fn lock(queue: &Queue) -> MutexGuard<'_, VecDeque<(PciAddress, File)>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes results until all have come or one does not.
fn collect(
    root: &SysRoot,
    results: &Receiver<Read>,
    waiting: &mut BTreeSet<PciAddress>,
    read: &mut BTreeMap<PciAddress, Override>,
) {
    while !waiting.is_empty() {
        match results.recv_timeout(PATIENCE) {
            Ok((address, text)) => {
                waiting.remove(&address);
                let path = root
                    .sys
                    .display(&format!("{DEVICES}/{address}/driver_override"));
                let text = text.map(|text| Answer::Known(parse_override(text)));
                read.insert(address, text.map_err(|error| ReadError::io(&path, error)));
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn start_reader(root: &SysRoot, queue: &Queue) -> Receiver<Read> {
    let (sender, receiver) = channel();
    let (queue, stalled) = (Arc::clone(queue), root.stalled.clone());
    let name = "overrides".to_owned();
    let started = std::thread::Builder::new()
        .name(name)
        .stack_size(128 << 10)
        .spawn(move || read_queue(&queue, &stalled, &sender));
    // Without a thread nothing comes, and what was to be read cannot be seen.
    drop(started);
    receiver
}

fn read_queue(queue: &Queue, stalled: &Stalled, results: &Sender<Read>) {
    loop {
        let Some((address, mut file)) = lock(queue).pop_front() else {
            return;
        };
        stalled.lock().insert(address);
        // An attribute is at most a page (`Documentation/filesystems/sysfs.rst`).
        let mut page = [0; 4096];
        let text = file.read(&mut page).map(|len| {
            let text = String::from_utf8_lossy(page.get(..len).unwrap_or_default());
            text.trim_end().to_owned()
        });
        stalled.lock().remove(&address);
        if results.send((address, text)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe nobody writes to holds its reader, as the kernel holds the reader of a locked device.
    #[test]
    fn a_device_that_holds_its_reader_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let address = |number| PciAddress::new(0, 0, number, 0).unwrap();
        std::fs::create_dir(folder.path().join("proc")).unwrap();
        for number in 0..3 {
            let device = folder
                .path()
                .join(format!("sys/{DEVICES}/{}", address(number)));
            std::fs::create_dir_all(&device).unwrap();
            std::fs::write(device.join("driver_override"), format!("d{number}\n")).unwrap();
        }
        let root = SysRoot::below(folder.path()).unwrap();
        let known = |text: &str| Ok(Answer::Known(Some(text.to_owned())));
        let read = |root: &SysRoot| -> Vec<Result<Answer<Option<String>>, String>> {
            let addresses = [address(0), address(1), address(2)];
            let read = read_overrides(root, &addresses);
            read.into_values()
                .map(|value| value.map_err(|error| error.because()))
                .collect()
        };
        assert_eq!(read(&root), [known("d0"), known("d1"), known("d2")]);

        let held = root.stalled.clone();
        held.lock().insert(address(1));
        assert_eq!(
            read(&root),
            [known("d0"), Ok(Answer::CannotSee), known("d2")]
        );
        held.lock().clear();
        assert_eq!(read(&root), [known("d0"), known("d1"), known("d2")]);
    }

    #[test]
    fn a_reader_that_does_not_come_back_is_left_behind_and_another_goes_on() {
        let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("proc")).unwrap();
        std::fs::create_dir(folder.path().join("sys")).unwrap();
        let root = SysRoot::below(folder.path()).unwrap();
        let address = PciAddress::new(0, 0, 1, 0).unwrap();
        let silent = File::from(std::os::fd::OwnedFd::from(theirs));
        let queue: Queue = Arc::new(Mutex::new(VecDeque::from([(address, silent)])));
        let results = start_reader(&root, &queue);
        let mut waiting = BTreeSet::from([address]);
        collect(&root, &results, &mut waiting, &mut BTreeMap::new());
        assert_eq!(waiting.len(), 1);
        assert!(root.stalled.lock().contains(&address));
        std::io::Write::write_all(&mut ours, b"late\n").unwrap();
        let (_, text) = results.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(text.unwrap(), "late");
        assert!(!root.stalled.lock().contains(&address));
    }
}
