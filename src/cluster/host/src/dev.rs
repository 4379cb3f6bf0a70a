//! `vfioctl-host dev`: host, store and runner of this machine together, on the loopback.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use vfioctl_api::{NodeName, UserName};

use crate::authority::{Authority, default_names};
use crate::command_line::Dev;
use crate::configuration::Configuration;
use crate::files::Files;
use crate::keeping;
use crate::start::{StartError, answer, first_token, host_name, listen, open, say, until_told};

/// The name of the file by which 'vfioctl' finds a cluster.
const CLIENT_FILE: &str = "cluster.json";

/// Runs everything together until it is told to end.
pub(crate) async fn run(arguments: Dev) -> Result<(), StartError> {
    let failed = |error: &dyn fmt::Display| StartError::new("cannot try things here", error);
    if !arguments.listen.ip().is_loopback() {
        let because = format!(
            "{} is not on the loopback, and nothing listens beyond it before 'init'",
            arguments.listen
        );
        return Err(StartError::new("cannot listen there", &because)
            .hint("set up a real host: 'vfioctl-host init'"));
    }
    let folder = Folder::make(arguments.data.as_deref())?;
    let data = folder.path.clone();
    let authority = match Authority::read(&data).map_err(|error| failed(&error))? {
        Some(authority) => authority,
        None => {
            let authority = Authority::make().map_err(|error| failed(&error))?;
            authority.write(&data).map_err(|error| failed(&error))?;
            authority
        }
    };
    let authority = Arc::new(authority);
    let own = authority
        .make_host(&default_names(&host_name()))
        .map_err(|error| failed(&error))?;
    let listener = listen(arguments.listen).await?;
    let address = listener.local_addr().map_err(|error| failed(&error))?;
    let url = format!("https://{address}");
    let configuration = Configuration {
        data: data.clone(),
        ..Configuration::default()
    };
    let store = keeping::open(&configuration).await?;
    let opened = open(store, Arc::clone(&authority), &data, &url).await?;
    let admin: UserName = "dev".parse().map_err(|error| failed(&error))?;
    let token = first_token(&opened.cluster, &admin, true)
        .await?
        .unwrap_or_default();
    let client = ClientFile::write(&data, &url, authority.certificate(), &token)?;
    let _runner = match arguments.no_runner {
        true => None,
        false => Some(start_runner(&arguments, &data, &url, &authority, &opened.cluster).await?),
    };
    say(&format!(
        "ready: '{}' on {url}, for this user only; Ctrl-C ends it",
        client.node_hint
    ));
    let ending = until_told()?;
    answer(listener, &own, &authority, opened, ending).await
}

/// Where everything lies; removed at the end, unless somebody named it.
struct Folder {
    path: PathBuf,
    is_temporary: bool,
}

impl Folder {
    fn make(named: Option<&Path>) -> Result<Self, StartError> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => runtime_folder().join(format!("dev-{}", std::process::id())),
        };
        Files::at(&path)
            .make_folder()
            .map_err(|error| StartError::new("cannot make a folder for this", &error))?;
        Ok(Self {
            path,
            is_temporary: named.is_none(),
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// This user's own folder for what ends with the session.
fn runtime_folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path).join("vfioctl"),
        None => {
            let uid = rustix::process::getuid().as_raw();
            std::env::temp_dir().join(format!("vfioctl-{uid}"))
        }
    }
}

/// The file by which 'vfioctl' finds this cluster; removed at the end.
struct ClientFile {
    path: PathBuf,
    node_hint: String,
}

impl ClientFile {
    fn write(data: &Path, url: &str, authority: &str, token: &str) -> Result<Self, StartError> {
        let failed =
            |error: &dyn fmt::Display| StartError::new("cannot tell 'vfioctl' of this host", error);
        let folder = runtime_folder();
        let files = Files::at(&folder);
        files.make_folder().map_err(|error| failed(&error))?;
        let text = serde_json::json!({
            "host": url,
            "authority": authority,
            "token": token,
        });
        files
            .write_secret(CLIENT_FILE, &format!("{text:#}\n"))
            .map_err(|error| failed(&error))?;
        Ok(Self {
            path: folder.join(CLIENT_FILE),
            node_hint: data.display().to_string(),
        })
    }
}

impl Drop for ClientFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Starts the runner of this machine, which ends with this process.
async fn start_runner(
    arguments: &Dev,
    data: &Path,
    url: &str,
    authority: &Authority,
    cluster: &crate::cluster::Cluster,
) -> Result<tokio::process::Child, StartError> {
    let failed = |error: &dyn fmt::Display| StartError::new("cannot start the runner", error);
    let node = match &arguments.node {
        Some(node) => node.clone(),
        None => node_name(&host_name()),
    };
    let (own, fingerprint) = authority.make_node(&node).map_err(|error| failed(&error))?;
    cluster
        .add_node(&node, &fingerprint)
        .await
        .map_err(|error| failed(&error))?;
    let folder = data.join("runner");
    let files = Files::at(&folder);
    files.make_folder().map_err(|error| failed(&error))?;
    files
        .write_secret("node.key", &own.key)
        .map_err(|error| failed(&error))?;
    files
        .write("node.pem", &own.certificate)
        .map_err(|error| failed(&error))?;
    files
        .write("authority.pem", authority.certificate())
        .map_err(|error| failed(&error))?;
    files
        .write("node.name", node.as_str())
        .map_err(|error| failed(&error))?;
    let program = match &arguments.runner {
        Some(program) => program.clone(),
        None => std::env::current_exe()
            .map_err(|error| failed(&error))?
            .with_file_name("vfioctl-runner"),
    };
    tokio::process::Command::new(&program)
        .args(["dev", "--host", url, "--data"])
        .arg(&folder)
        .args(&arguments.runner_arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            StartError::new(format!("cannot start '{}'", program.display()), &error)
                .hint("name it with --runner, or go without: --no-runner")
        })
}

/// A name for a node, as near to the host name as may be.
fn node_name(host_name: &str) -> NodeName {
    let plain: String = host_name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let name = plain.trim_matches('-').parse().ok();
    name.or_else(|| "local".parse().ok())
        .unwrap_or_else(unreachable_name)
}

#[expect(clippy::expect_used, reason = "a text of letters is a name")]
fn unreachable_name() -> NodeName {
    "local".parse().expect("a name")
}
