//! From the command line to the agent.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use rustix::fs::{FlockOperation, flock};
use vfioctl_api::TaskId;
use vfioctl_scan::{SysRoot, read_memory};

use crate::agent::{self, Clock};
use crate::command_line::{CommandLine, Dev, Join, ShowGpus, Verb};
use crate::configuration::Configuration;
use crate::container::{self, Containers};
use crate::gpu::{self, LiveGpus};
use crate::https::{HttpsLink, Identification};
use crate::journal::{FolderJournal, Journal as _};
use crate::limits::{END_TIME, MAX_LOG_BYTES};
use crate::machine::{self, Machines};
use crate::node::{Absent, Gpus, LiveNode, Parts, Side};
use crate::{acs, joining, log};

/// Runs the runner; the whole of the program.
pub fn run() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            let is_answer = !error.use_stderr();
            // Where nobody reads, there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(if is_answer { 0 } else { 2 });
        }
    };
    match try_run(line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr().lock(), "vfioctl-runner: {reason}");
            ExitCode::from(2)
        }
    }
}

fn try_run(line: CommandLine) -> Result<(), String> {
    let configuration = || Configuration::read(&line.config).map_err(|error| error.to_string());
    match line.verb {
        Verb::Run => on_threads(serve(configuration()?.with_user_of_machines())),
        Verb::Dev(arguments) => on_threads(serve(of_dev(arguments))),
        Verb::Gpus(arguments) => on_threads(show_gpus(&arguments, &configuration()?)),
        Verb::Join(arguments) => {
            let configuration = configuration()?;
            // Before there are threads.
            become_runner(&arguments, &line.config, &configuration.data)?;
            on_threads(joining::join(&arguments, &configuration))
        }
        // These two are started by a runner, and need nothing of what it has.
        Verb::Nvml(arguments) => gpu::nvml::run(&arguments.addresses, arguments.library.as_deref()),
        Verb::Relay(relay) => relay.run(),
    }
}

fn on_threads(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    // Two programs of one address space would otherwise disagree about who encrypts.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let done = runtime.block_on(work);
    // What hangs in a driver hangs there for itself.
    runtime.shutdown_timeout(END_TIME);
    done
}

async fn show_gpus(arguments: &ShowGpus, configuration: &Configuration) -> Result<(), String> {
    let (data, lock) = match &arguments.data {
        Some(data) => (data, lock(data)),
        // A file that root writes there could not be read by the runner.
        None => (
            &configuration.data,
            Err("the runner gives it one when it looks".into()),
        ),
    };
    let may_number = lock.as_ref().map(|_| ()).map_err(String::clone);
    let gpus = live_gpus(configuration, data, may_number)?;
    gpu::show(&gpus, arguments.json).await
}

fn of_dev(arguments: Dev) -> Configuration {
    let mut configuration = Configuration {
        hosts: vec![arguments.host],
        address: Some(arguments.address),
        data: arguments.data,
        ..Configuration::default()
    };
    let is_none = |path: &Path| path == Path::new("none");
    match arguments.engine {
        Some(path) if is_none(&path) => configuration.containers.enabled = false,
        engine => configuration.containers.socket = engine,
    }
    if let Some(image) = arguments.default_image {
        configuration.containers.default_image = image;
    }
    match arguments.helper {
        Some(path) if is_none(&path) => configuration.machines.enabled = false,
        Some(path) => configuration.helper = path,
        None => {}
    }
    configuration.machines.images = arguments.images;
    configuration
}

/// Root joins as the user that the runner will be.
fn become_runner(arguments: &Join, config: &Path, data: &Path) -> Result<(), String> {
    let token = joining::open_token(arguments.token_file.as_deref())?;
    let again = ["--config".into(), config.into(), "join".into()]
        .into_iter()
        .chain([OsString::from(&arguments.host)]);
    let again: Vec<OsString> = again.collect();
    vfioctl_service::become_owner(data, &again, token).map_err(|error| error.to_string())
}

async fn serve(configuration: Configuration) -> Result<(), String> {
    let data = configuration.data.clone();
    let _lock = lock(&data)?;
    let own = Identification::read(&data).map_err(|error| {
        format!("{error}\n  try: join a cluster first: 'vfioctl-runner join URL'")
    })?;
    let hosts = hosts(&configuration)?;
    let link = HttpsLink::new(&hosts, &own)?;
    let journal = FolderJournal::open(&data.join("journal")).map_err(|error| error.to_string())?;
    let saved = journal.read().await.map_err(|error| error.to_string())?;
    let known = saved.into_iter().map(|saved| saved.order.task).collect();
    let problems = match configuration.overrides_acs {
        true => acs::isolate_gpus(configuration.helper.clone()).await,
        false => Vec::new(),
    };
    let node = live_node(&configuration, &hosts, known, problems)?;
    let parts = agent::Parts {
        link: Arc::new(link),
        world: Arc::new(node),
        journal: Arc::new(journal),
        clock: system_clock(),
        incarnation: incarnation(),
    };
    let mut told = vfioctl_service::until_told()
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        ended = agent::run(parts) => ended.map_err(|error| error.to_string()),
        _ = told.wait_for(|told| *told) => Ok(()),
    }
}

fn live_node(
    configuration: &Configuration,
    hosts: &[String],
    known: BTreeSet<TaskId>,
    problems: Vec<String>,
) -> Result<LiveNode, String> {
    let root = SysRoot::live().map_err(|error| error.to_string())?;
    // Said once and here: no host takes a node of which this is not known.
    read_memory(&root).map_err(|error| error.to_string())?;
    let gpus: Arc<dyn Gpus> = Arc::new(live_gpus(configuration, &configuration.data, Ok(()))?);
    let address = configuration
        .address
        .clone()
        .unwrap_or_else(|| own_address(hosts));
    Ok(LiveNode::new(Parts {
        root,
        containers: containers(configuration, &gpus, &address, known)?,
        machines: machines(configuration, &gpus, &address),
        gpus,
        address,
        default_machine_memory: configuration.machines.default_memory(),
        data: configuration.data.clone(),
        problems,
    }))
}

fn containers(
    configuration: &Configuration,
    gpus: &Arc<dyn Gpus>,
    address: &str,
    known: BTreeSet<TaskId>,
) -> Result<Arc<dyn Side>, String> {
    if !configuration.containers.enabled {
        let reason = "containers are switched off ('[runner.containers] enabled')";
        return Ok(Arc::new(Absent::new(reason)));
    }
    Ok(Arc::new(Containers::new(container::Parts {
        configuration: configuration.containers.clone(),
        helper: configuration.helper.clone(),
        gpus: Arc::clone(gpus),
        root: Arc::new(SysRoot::live().map_err(|error| error.to_string())?),
        data: configuration.data.clone(),
        address: address.to_owned(),
        programs: container::Parts::programs_of_environment(),
        cdi_folders: container::Parts::usual_cdi_folders(),
        known,
        max_log_bytes: MAX_LOG_BYTES,
    })))
}

fn machines(configuration: &Configuration, gpus: &Arc<dyn Gpus>, address: &str) -> Arc<dyn Side> {
    if !configuration.machines.enabled {
        let because = "machines are switched off ('[runner.machines] enabled')";
        return Arc::new(Absent::new(because));
    }
    let open = || {
        let own = &configuration.helper;
        let helper = configuration.machine_helper.as_ref().unwrap_or(own);
        Machines::open(machine::Parts {
            configuration: configuration.machines.clone(),
            helper: helper.clone(),
            is_own_user: helper == own,
            gpus: Arc::clone(gpus),
            root: Arc::new(SysRoot::live().map_err(|error| error.to_string())?),
            data: configuration.data.clone(),
            address: address.to_owned(),
            program: this_program()?,
            passt: machine::PASST.into(),
            qemu: machine::QEMU.into(),
        })
    };
    match open() {
        Ok(machines) => Arc::new(machines),
        Err(because) => Arc::new(Absent::new(because)),
    }
}

fn this_program() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| format!("cannot find this program itself: {error}"))
}

fn live_gpus(
    configuration: &Configuration,
    data: &Path,
    may_number: Result<(), String>,
) -> Result<LiveGpus, String> {
    LiveGpus::open(gpu::Parts {
        root: SysRoot::live().map_err(|error| error.to_string())?,
        helper: configuration.helper.clone(),
        data: data.to_owned(),
        may_number,
        program: this_program()?,
        nvml: None,
    })
}

/// The hosts of the configuration, or the one that was joined.
fn hosts(configuration: &Configuration) -> Result<Vec<String>, String> {
    if !configuration.hosts.is_empty() {
        return Ok(configuration.hosts.clone());
    }
    let path = configuration.data.join("hosts");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("cannot read '{}': {error}", path.display()))?;
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

/// One runner a node: the second is told.
fn lock(data: &Path) -> Result<File, String> {
    let path = data.join("lock");
    std::fs::create_dir_all(data)
        .map_err(|error| format!("cannot make '{}': {error}", data.display()))?;
    let file = File::create(&path)
        .map_err(|error| format!("cannot write '{}': {error}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(format!("another runner works in '{}'", data.display())),
    }
}

/// The address by which this machine reaches a host, which is the one that it is reached at, as a rule.
/// Nothing is sent.
fn own_address(hosts: &[String]) -> String {
    let find = || -> Option<IpAddr> {
        let host = hosts.first()?.strip_prefix("https://")?;
        let host = host.split('/').next()?;
        let socket = UdpSocket::bind(if host.starts_with('[') {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        })
        .ok()?;
        socket.connect(host).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    find().map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string())
}

fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

/// Names this start of the program among all.
fn incarnation() -> String {
    use ring::rand::SecureRandom as _;
    let mut bytes = [0; 12];
    if ring::rand::SystemRandom::new().fill(&mut bytes).is_err() {
        log::warning("the system gives no random bytes; this start is named by its time");
    }
    crate::digest::hex_digest(
        format!("{bytes:?} {} {}", std::process::id(), system_clock()()).as_bytes(),
    )
}
