//! From the command line to the server.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use vfioctl_api::{AddUser, Role, TokenRequest, UserName};
use vfioctl_service::become_owner;
use vfioctl_store::Store;

use crate::api::{Service, router};
use crate::audit::Audit;
use crate::authority::{Authority, KeyAndCertificate, default_names};
use crate::clock::Clock;
use crate::cluster::{ChanceSource, Cluster, Running};
use crate::command_line::{CommandLine, Init, Verb};
use crate::configuration::Configuration;
use crate::dev;
use crate::files::Files;
use crate::keeping;
use crate::server;

/// Why a host does not do what it was started for: what, because, and what to try.
#[derive(Debug)]
pub(crate) struct StartError {
    what: String,
    because: String,
    hint: Option<String>,
}

impl StartError {
    pub(crate) fn new(what: impl Into<String>, because: &dyn fmt::Display) -> Self {
        Self {
            what: what.into(),
            because: because.to_string(),
            hint: None,
        }
    }

    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  because: {}", self.what, self.because)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  try: {hint}"),
            None => Ok(()),
        }
    }
}

const SERVER_KEY: &str = "host.key";
const SERVER_CERTIFICATE: &str = "host.pem";

/// Runs the host; the whole of the program.
pub fn run() -> ExitCode {
    use std::io::Write as _;
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
        Err(error) => {
            let _ = writeln!(std::io::stderr().lock(), "vfioctl-host: {error}");
            ExitCode::from(2)
        }
    }
}

fn try_run(line: CommandLine) -> Result<(), StartError> {
    if let Verb::Dev(arguments) = line.verb {
        return runtime(None)?.block_on(dev::run(arguments));
    }
    let configuration = Configuration::read(&line.config)
        .map_err(|error| StartError::new("cannot start", &error).hint("mend the configuration"))?;
    if let Verb::Init(_) = line.verb {
        // Before there are threads.
        let arguments: Vec<_> = std::env::args_os().skip(1).collect();
        become_owner(&configuration.data, &arguments, None)
            .map_err(|error| StartError::new("cannot set up the cluster", &error))?;
    }
    let runtime = runtime(configuration.threads)?;
    match line.verb {
        Verb::Serve => runtime.block_on(serve(configuration)),
        Verb::Init(arguments) => runtime.block_on(init(&arguments, &configuration)),
        Verb::Dev(_) => Ok(()),
    }
}

fn runtime(threads: Option<usize>) -> Result<tokio::runtime::Runtime, StartError> {
    let mut builder = match threads {
        Some(1) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder
        .enable_all()
        .build()
        .map_err(|error| StartError::new("cannot start threads", &error))
}

/// Chance, from the system.
#[derive(Debug)]
pub(crate) struct SystemChance(ring::rand::SystemRandom);

impl SystemChance {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(ring::rand::SystemRandom::new()))
    }
}

impl ChanceSource for SystemChance {
    fn fill(&self, bytes: &mut [u8]) {
        use ring::rand::SecureRandom as _;
        if self.0.fill(bytes).is_err() {
            // Without chance there are no secrets: a token that can be guessed must not exist.
            crate::log::error("the system gives no random bytes; ending");
            std::process::abort();
        }
    }
}

/// A cluster that is open, and all that answering takes.
pub(crate) struct Opened {
    pub(crate) cluster: Cluster,
    pub(crate) service: Service,
    pub(crate) running: Running,
}

/// Opens a cluster.
pub(crate) async fn open(
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
    data: &Path,
    address: &str,
) -> Result<Opened, StartError> {
    let failed = |error: &dyn fmt::Display| StartError::new("cannot open the cluster", error);
    let audit = Audit::open(&data.join("audit.log")).map_err(|error| failed(&error))?;
    let (cluster, running) = Cluster::open(store, Clock::system(), SystemChance::new(), address)
        .await
        .map_err(|error| failed(&error))?;
    let service = Service::new(cluster.clone(), authority, Arc::new(audit));
    Ok(Opened {
        cluster,
        service,
        running,
    })
}

async fn serve(configuration: Configuration) -> Result<(), StartError> {
    let data = &configuration.data;
    let authority = read_authority(data)?;
    let own = read_certificate(&configuration, data)?;
    let store = keeping::open(&configuration).await?;
    let address = match &configuration.address {
        Some(address) => address.clone(),
        None => format!("https://{}:{}", host_name(), configuration.listen.port()),
    };
    let opened = open(store, Arc::clone(&authority), data, &address).await?;
    let listener = listen(configuration.listen).await?;
    crate::log::info(&format!(
        "listening on {}, as {address}",
        configuration.listen
    ));
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    answer(listener, &own, &authority, opened, until_told()?).await
}

/// Answers until it is told to end.
pub(crate) async fn answer(
    listener: TcpListener,
    own: &KeyAndCertificate,
    authority: &Authority,
    opened: Opened,
    ending: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let acceptor = server::acceptor(own, authority.certificate()).map_err(|error| {
        StartError::new("cannot set up TLS", &error)
            .hint("make the certificate anew: 'vfioctl-host init'")
    })?;
    server::serve(listener, acceptor, router(opened.service), ending).await;
    drop(opened.running);
    Ok(())
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        StartError::new(format!("cannot listen on {address}"), &error)
            .hint("end what listens there, or choose another port ('[host] listen')")
    })
}

/// Told by SIGTERM and SIGINT.
pub(crate) fn until_told() -> Result<watch::Receiver<bool>, StartError> {
    vfioctl_service::until_told()
        .map_err(|error| StartError::new("cannot wait for signals", &error))
}

fn read_authority(data: &Path) -> Result<Arc<Authority>, StartError> {
    match Authority::read(data) {
        Ok(Some(authority)) => Ok(Arc::new(authority)),
        Ok(None) => Err(StartError::new(
            "cannot start",
            &format!("there is no authority in '{}' yet", data.display()),
        )
        .hint("make one: 'vfioctl-host init', as the user that the host runs as")),
        Err(error) => Err(StartError::new("cannot start", &error)),
    }
}

fn read_certificate(
    configuration: &Configuration,
    data: &Path,
) -> Result<KeyAndCertificate, StartError> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| StartError::new(format!("cannot read '{}'", path.display()), &error))
    };
    if let (Some(certificate), Some(key)) = (&configuration.certificate, &configuration.key) {
        return Ok(KeyAndCertificate {
            key: read(key)?,
            certificate: read(certificate)?,
        });
    }
    let failed = |error: &dyn fmt::Display| {
        StartError::new("cannot start", error)
            .hint("make this host's certificate: 'vfioctl-host init'")
    };
    let files = Files::at(data);
    let key = files.read(SERVER_KEY).map_err(|error| failed(&error))?;
    let certificate = files
        .read(SERVER_CERTIFICATE)
        .map_err(|error| failed(&error))?;
    match (key, certificate) {
        (Some(key), Some(certificate)) => Ok(KeyAndCertificate { key, certificate }),
        _ => Err(failed(&"this host has no certificate yet")),
    }
}

async fn init(arguments: &Init, configuration: &Configuration) -> Result<(), StartError> {
    let data = &configuration.data;
    let failed = |error: &dyn fmt::Display| StartError::new("cannot set up the cluster", error);
    let files = Files::at(data);
    files.make_folder().map_err(|error| failed(&error))?;
    let authority = match Authority::read(data).map_err(|error| failed(&error))? {
        Some(authority) => authority,
        None => {
            let authority = Authority::make().map_err(|error| failed(&error))?;
            authority.write(data).map_err(|error| failed(&error))?;
            say(&format!(
                "made the cluster's authority in '{}'; users know it by its fingerprint:\n  {}",
                data.display(),
                authority.fingerprint()
            ));
            authority
        }
    };
    let is_there = files
        .read(SERVER_CERTIFICATE)
        .map_err(|error| failed(&error))?
        .is_some();
    if configuration.certificate.is_none() && (!is_there || !arguments.names.is_empty()) {
        let mut names = default_names(&host_name());
        names.extend(arguments.names.iter().cloned());
        let own = authority
            .make_host(&names)
            .map_err(|error| failed(&error))?;
        files
            .write_secret(SERVER_KEY, &own.key)
            .map_err(|error| failed(&error))?;
        files
            .write(SERVER_CERTIFICATE, &own.certificate)
            .map_err(|error| failed(&error))?;
        say(&format!(
            "made this host's certificate, for {}",
            names.join(", ")
        ));
    }
    let store = keeping::open(configuration).await?;
    let opened = open(store, Arc::new(authority), data, "https://localhost").await?;
    let token = first_token(&opened.cluster, &arguments.admin, arguments.token).await?;
    let Some(token) = token else {
        say("the cluster has an administrator already; '--token' makes another token");
        return Ok(());
    };
    say(&format!(
        "made a token for '{}'; it is shown this once:",
        arguments.admin
    ));
    answer_line(&token);
    say(&format!(
        "start the host ('systemctl enable --now vfioctl-host'), then log in with it:\n  vfioctl login \
         https://{}:{} --authority {}/authority.pem",
        host_name(),
        configuration.listen.port(),
        data.display()
    ));
    Ok(())
}

/// A token for the first administrator; none where there is one who has a token.
pub(crate) async fn first_token(
    cluster: &Cluster,
    admin: &UserName,
    again: bool,
) -> Result<Option<String>, StartError> {
    let failed =
        |error: &dyn fmt::Display| StartError::new("cannot make the first administrator", error);
    let users = cluster.users();
    let has_admin = users
        .iter()
        .any(|user| user.role == Role::Admin && !user.tokens.is_empty());
    if has_admin && !again {
        return Ok(None);
    }
    if !users.iter().any(|user| user.name == *admin) {
        let add = AddUser {
            name: admin.clone(),
            role: Role::Admin,
        };
        cluster
            .add_user(&add)
            .await
            .map_err(|error| failed(&error))?;
    }
    let made = cluster.add_token(admin, &TokenRequest::default()).await;
    made.map(|token| Some(token.token))
        .map_err(|error| failed(&error))
}

/// Says something to whoever started this.
pub(crate) fn say(text: &str) {
    use std::io::Write as _;
    // Where nobody listens there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The answer of a verb, which programs may read.
fn answer_line(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// What this machine is called; empty where it has no name.
pub(crate) fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
