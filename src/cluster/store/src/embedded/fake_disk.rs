//! A disk in memory that fails, hangs and loses its power as real ones do, for tests.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::StorageBackend;

/// A disk. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct FakeDisk {
    disk: Arc<Mutex<Disk>>,
    goes_on: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct Disk {
    /// What a reader gets.
    seen: Vec<u8>,
    /// What a power cut leaves for sure.
    durable: Vec<u8>,
    /// What it may leave.
    pending: Vec<Step>,
    /// Writes, changes of the length and syncs so far.
    steps: usize,
    fault: Fault,
    random: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Write(u64, Vec<u8>),
    Len(u64),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Fault {
    #[default]
    None,
    /// The step with that number fails, and those after it do not.
    Once(usize),
    /// Every step from that one on fails.
    From(usize),
    /// There is no room for more bytes than these.
    Full(u64),
    /// Syncs do not return.
    Hang,
}

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

impl FakeDisk {
    /// One whose chances are those of a seed.
    pub(super) fn new(seed: u64, fault: Fault) -> Self {
        let new = Self::default();
        let mut disk = new.disk();
        // Small numbers alone would let the first chances all be the same.
        (disk.random, disk.fault) = ((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15), fault);
        drop(disk);
        new
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        self.disk().fault = fault;
        self.goes_on.notify_all();
    }

    /// How many steps there were.
    pub(super) fn steps(&self) -> usize {
        self.disk().steps
    }

    /// The disk after a power cut: what was synced, and of the rest what chance will have.
    pub(super) fn cut(&self) -> Self {
        let mut disk = self.disk();
        let mut left = disk.durable.clone();
        for step in disk.pending.clone() {
            match (step, disk.below(3)) {
                (_, 0) => {}
                (Step::Len(len), _) => left.resize(usize::try_from(len).unwrap(), 0),
                (Step::Write(offset, data), 1) => write(&mut left, offset, &data),
                (Step::Write(offset, data), _) => {
                    for (number, sector) in data.chunks(SECTOR).enumerate() {
                        if disk.below(2) == 0 {
                            write(&mut left, offset + (number * SECTOR) as u64, sector);
                        }
                    }
                }
            }
        }
        let after = Disk {
            seen: left.clone(),
            durable: left,
            random: disk.random,
            ..Disk::default()
        };
        Self {
            disk: Arc::new(Mutex::new(after)),
            goes_on: Arc::default(),
        }
    }

    /// The same with one bit changed, as if nobody had noticed.
    pub(super) fn with_changed_bit(&self, byte: usize, bit: u8) -> Self {
        let changed = self.cut();
        changed.disk().seen[byte] ^= 1 << bit;
        changed
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }
}

impl Disk {
    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) % end
    }

    /// Takes a step, where it does not fail.
    fn step(&mut self) -> io::Result<()> {
        let step = self.steps;
        self.steps += 1;
        match self.fault {
            Fault::Once(at) if step == at => Err(failed()),
            Fault::From(at) if step >= at => Err(failed()),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for FakeDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let disk = self.disk();
        let read = disk.seen.get(offset..offset + out.len());
        out.copy_from_slice(read.ok_or_else(failed)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.disk();
        disk.step()?;
        if matches!(disk.fault, Fault::Full(most) if len > most) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        disk.seen.resize(usize::try_from(len).unwrap(), 0);
        disk.pending.push(Step::Len(len));
        Ok(())
    }

    /// One that fails leaves the kernel with pages that it takes for written, and that never will
    /// be: later syncs say nothing of them.
    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk();
        while matches!(disk.fault, Fault::Hang) {
            disk = self.goes_on.wait(disk).unwrap();
        }
        let synced = disk.step();
        let mut kept = Vec::new();
        for step in std::mem::take(&mut disk.pending) {
            match step {
                Step::Write(offset, data) if synced.is_ok() || disk.below(2) == 0 => {
                    write(&mut disk.durable, offset, &data);
                }
                Step::Write(..) => {}
                Step::Len(len) if synced.is_ok() => {
                    disk.durable.resize(usize::try_from(len).unwrap(), 0);
                }
                // The length is in the file system's journal, which tries again.
                Step::Len(len) => kept.push(Step::Len(len)),
            }
        }
        disk.pending = kept;
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        let written = disk.step();
        let data = match &written {
            Ok(()) => data,
            // What fails may have been done in part.
            Err(_) => {
                let sectors = disk.below((data.len() / SECTOR) as u64 + 1);
                &data[..usize::try_from(sectors).unwrap() * SECTOR]
            }
        };
        write(&mut disk.seen, offset, data);
        disk.pending.push(Step::Write(offset, data.to_vec()));
        written
    }
}

fn failed() -> io::Error {
    io::Error::other("the disk fails")
}

/// Writes as far as there is a file to write to.
fn write(to: &mut [u8], offset: u64, data: &[u8]) {
    let offset = usize::try_from(offset).unwrap().min(to.len());
    let len = data.len().min(to.len() - offset);
    to[offset..offset + len].copy_from_slice(&data[..len]);
}
