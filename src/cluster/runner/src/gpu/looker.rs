//! Looking at the GPUs: from what there is to what is told, with what was known before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use vfioctl_api::{GpuNumber, GpuTelemetry};
use vfioctl_core::pci::{DriverName, PciAddress, PciPath};
use vfioctl_names::Names;
use vfioctl_scan::{SysRoot, read_driver, read_is_asleep};

use super::details::{Numbered, describe, describe_absent};
use super::numbers::{Change, Numbers};
use super::numbers_file::NumbersFile;
use super::nvml::{self, Last, Reading, Report};
use super::place::{Place, find_places};
use super::seen::{Seen, read_seen};
use super::sensors::{self, Counters};
use super::told::{Told, read_told};
use crate::limits::GPU_LOOK;
use crate::log;
use crate::node::GpuDetail;

/// Looks at the GPUs.
#[derive(Debug)]
pub(super) struct Looker {
    root: SysRoot,
    helper: PathBuf,
    names: Names,
    file: NumbersFile,
    may_number: Result<(), String>,
    numbers: Mutex<Numbers>,
    counters: Mutex<Counters>,
    state: Mutex<State>,
}

/// What the last look has left.
#[derive(Debug, Default)]
struct State {
    details: Option<Vec<GpuDetail>>,
    present: Vec<Present>,
    told: BTreeMap<PciAddress, Told>,
    /// What NVML told of each GPU that NVIDIA's driver has.
    readings: BTreeMap<PciAddress, Reading>,
    problems: Vec<String>,
}

/// A GPU that is there.
#[derive(Debug, Clone)]
struct Present {
    number: GpuNumber,
    address: PciAddress,
    is_used: bool,
}

impl Looker {
    /// # Errors
    /// Where the file with the numbers cannot be read, as a sentence.
    pub(super) fn open(
        root: SysRoot,
        helper: PathBuf,
        data: &Path,
        may_number: Result<(), String>,
    ) -> Result<Self, String> {
        let file = NumbersFile::of(data);
        Ok(Self {
            names: Names::read(&root),
            numbers: Mutex::new(file.read()?),
            root,
            helper,
            file,
            may_number,
            counters: Mutex::default(),
            state: Mutex::default(),
        })
    }

    /// Looks at all GPUs.
    pub(super) fn look(&self) -> Vec<GpuDetail> {
        match read_seen(&self.root, &self.helper) {
            Ok(seen) => self.describe(&seen),
            Err(because) => {
                let reason = format!("the PCI functions of this node are not seen: {because}");
                let details = self.describe_none(&reason);
                let mut state = lock(&self.state);
                state.problems = vec![reason];
                state.details = Some(details.clone());
                details
            }
        }
    }

    /// What is told while a look does not end.
    pub(super) fn look_hangs(&self) -> Vec<GpuDetail> {
        let problem = format!(
            "a look at the GPUs has not ended within {} s",
            GPU_LOOK.as_secs()
        );
        let before = lock(&self.state).details.clone();
        let details = before.unwrap_or_else(|| self.describe_none(&problem));
        lock(&self.state).problems = vec![problem];
        details
    }

    fn describe_none(&self, because: &str) -> Vec<GpuDetail> {
        let numbers = lock(&self.numbers);
        let absent = |known| describe_absent(known, &self.names, because);
        numbers.0.iter().map(absent).collect()
    }

    fn describe(&self, seen: &Seen) -> Vec<GpuDetail> {
        let (places, unseen) = find_places(&seen.snapshot);
        let mut problems: Vec<String> = unseen
            .iter()
            .map(|at| format!("the GPU at {at} has no number: bridges above it are not seen"))
            .collect();
        let told = self.read_told(seen, &places);
        let mut numbers = lock(&self.numbers);
        self.number(&mut numbers, &places, &mut problems);
        self.learn(&mut numbers, &places, &told);
        let find = |path: &PciPath| places.iter().find(|place| place.path == *path);
        let numbered: Vec<Numbered<'_>> = numbers
            .0
            .iter()
            .map(|known| Numbered {
                known,
                function: find(&known.path).and_then(|place| seen.snapshot.function(place.address)),
            })
            .collect();
        let details = describe(seen, &numbered, &told, &self.names);
        let present = numbered.iter().zip(&details).filter_map(|(gpu, detail)| {
            Some(Present {
                number: gpu.known.number,
                address: gpu.function?.address,
                is_used: !detail.gpu.holders.is_empty(),
            })
        });
        let mut state = lock(&self.state);
        let on_nvidia = |address: &PciAddress| {
            let driver = seen.snapshot.function(*address)?.driver.as_ref();
            driver.filter(|driver| is_nvidia(driver))
        };
        state
            .readings
            .retain(|address, _| on_nvidia(address).is_some());
        state.present = present.collect();
        state.details = Some(details.clone());
        state.told = told;
        state.problems = problems;
        details
    }

    fn read_told(&self, seen: &Seen, places: &[Place]) -> BTreeMap<PciAddress, Told> {
        let (before, readings) = {
            let state = lock(&self.state);
            (state.told.clone(), state.readings.clone())
        };
        let told = places.iter().filter_map(|place| {
            let at = &place.address;
            let function = seen.snapshot.function(*at)?;
            let told = read_told(&self.root, function, readings.get(at), before.get(at));
            Some((*at, told))
        });
        told.collect()
    }

    /// Gives numbers to those that have none. A number is on disk before anybody is told of it.
    fn number(&self, numbers: &mut Numbers, places: &[Place], problems: &mut Vec<String>) {
        let mut next = numbers.clone();
        let changes = next.take(places);
        let written = match (changes.is_empty(), &self.may_number) {
            (true, _) => Ok(()),
            (false, Ok(())) => self.file.write(&next),
            (false, Err(because)) => Err(because.clone()),
        };
        for change in &changes {
            match (change, &written) {
                (Change::NoneLeft(address), _) => {
                    problems.push(format!("no number is left for the GPU at {address}"));
                }
                (Change::New(known), Err(because)) => {
                    next.0.retain(|other| other.number != known.number);
                    let address = known.address;
                    problems.push(format!("the GPU at {address} has no number yet: {because}"));
                }
                // Written or not, a GPU is where it is.
                (change, _) => self.log(change),
            }
        }
        *numbers = next;
    }

    fn log(&self, change: &Change) {
        match change {
            Change::New(known) => log::info(&format!(
                "GPU {}: {} at {} ({})",
                known.number,
                self.names.of(known.identity),
                known.address,
                known.path
            )),
            Change::Moved(known, from) => log::info(&format!(
                "GPU {} is at {} now, and was at {from}: it sits where it did",
                known.number, known.address
            )),
            Change::Replaced(known, before) => log::warning(&format!(
                "GPU {} is another card now: {} ({}) sits where {} ({before}) did",
                known.number,
                self.names.of(known.identity),
                known.identity,
                self.names.of(*before)
            )),
            Change::NoneLeft(_) => {}
        }
    }

    /// Keeps what drivers have told, for the time when they tell no more.
    fn learn(&self, numbers: &mut Numbers, places: &[Place], told: &BTreeMap<PciAddress, Told>) {
        let mut is_news = false;
        for place in places {
            let number = numbers.at_path(&place.path).map(|known| known.number);
            if let (Some(number), Some(told)) = (number, told.get(&place.address)) {
                is_news |= numbers.learn(number, told.name.as_ref(), told.memory_mib);
            }
        }
        if is_news && self.may_number.is_ok() {
            // Where it cannot be written, it is learned again by the next runner.
            let _ = self.file.write(numbers);
        }
    }

    /// Reads how those GPUs fare that tell it in sysfs.
    pub(super) fn read_sensors(&self, now: Instant) -> Vec<GpuTelemetry> {
        let gpus: Vec<sensors::Asked> = self
            .awake()
            .into_iter()
            .filter(|(_, driver)| !is_nvidia(driver) && !driver.is_vfio())
            .map(|(gpu, driver)| sensors::Asked {
                number: gpu.number,
                address: gpu.address,
                driver: driver.to_string(),
            })
            .collect();
        let mut counters = lock(&self.counters);
        counters.keep(&gpus);
        let read = |gpu: &sensors::Asked| counters.read(&self.root, gpu, now);
        gpus.iter().map(read).collect()
    }

    /// What NVML is to be asked for now.
    pub(super) fn ask_nvml(&self) -> nvml::Asked {
        let gpus = self.awake().into_iter();
        let gpus: Vec<Present> = gpus
            .filter(|(_, driver)| is_nvidia(driver))
            .map(|(gpu, _)| gpu)
            .collect();
        let used = gpus.iter().filter(|gpu| gpu.is_used);
        nvml::Asked {
            in_use: used.map(|gpu| gpu.address).collect(),
            addresses: gpus.iter().map(|gpu| gpu.address).collect(),
        }
    }

    /// GPUs that do not sleep and have a driver, as of this moment: between two looks somebody may have
    /// taken one.
    fn awake(&self) -> Vec<(Present, DriverName)> {
        let present = lock(&self.state).present.clone();
        let awake = present.into_iter().filter_map(|gpu| {
            let driver = read_driver(&self.root, gpu.address).ok().flatten()?;
            (!read_is_asleep(&self.root, gpu.address)).then_some((gpu, driver))
        });
        awake.collect()
    }

    /// Takes in what NVML has told; whether there is a GPU among them of which nothing was known.
    pub(super) fn take_readings(&self, readings: &[Reading]) -> bool {
        let mut state = lock(&self.state);
        let mut is_news = false;
        for reading in readings.iter().filter(|reading| reading.problem.is_none()) {
            if let Ok(address) = reading.address.parse() {
                let before = state.readings.insert(address, reading.clone());
                is_news |= before.is_none();
            }
        }
        is_news
    }

    /// Whether NVML has not told yet of some GPU that NVIDIA's driver has.
    pub(super) fn lacks_readings(&self) -> bool {
        let asked = self.ask_nvml();
        let state = lock(&self.state);
        let mut addresses = asked.addresses.iter();
        addresses.any(|address| !state.readings.contains_key(address))
    }

    /// How those GPUs fare that NVML has told of.
    pub(super) fn telemetry_of(&self, readings: &[Reading]) -> Vec<GpuTelemetry> {
        let asked = self.ask_nvml();
        let present = lock(&self.state).present.clone();
        let telemetry = present.iter().filter_map(|gpu| {
            let address = gpu.address.to_string();
            let mut told = readings.iter().filter(|reading| reading.problem.is_none());
            let told = told.find(|reading| reading.address == address)?;
            let is_asked = asked.addresses.contains(&gpu.address);
            is_asked.then_some(GpuTelemetry {
                number: gpu.number,
                utilisation_percent: told.utilisation_percent,
                memory_used_mib: told.memory_used_mib,
                temperature_c: told.temperature_c,
                power_w: told.power_w,
                power_limit_w: told.power_limit_w,
            })
        });
        telemetry.collect()
    }

    /// What is not well, as sentences.
    pub(super) fn problems(&self, nvml: &Last) -> Vec<String> {
        let state = lock(&self.state);
        let mut problems = state.problems.clone();
        match nvml.outcome().map(|(outcome, _)| outcome) {
            Some(Ok(Report::Read { gpus, .. })) => {
                let number = |reading: &Reading| {
                    let is_it = |gpu: &&Present| gpu.address.to_string() == reading.address;
                    state.present.iter().find(is_it).map(|gpu| gpu.number)
                };
                problems.extend(gpus.iter().filter_map(|reading| {
                    let (number, problem) = (number(reading)?, reading.problem.as_ref()?);
                    Some(format!("GPU {number} at {}: {problem}", reading.address))
                }));
            }
            // A machine without NVIDIA's library is well.
            None | Some(Ok(Report::Absent { .. })) => {}
            Some(Ok(Report::Failed { reason }) | Err(reason)) => {
                problems.push(format!("NVIDIA's GPUs tell nothing: {reason}"));
            }
        }
        problems
    }
}

fn is_nvidia(driver: &DriverName) -> bool {
    driver.as_str() == "nvidia"
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
