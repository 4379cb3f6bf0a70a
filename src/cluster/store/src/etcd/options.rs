//! Where etcd is, and how it is spoken to.

use std::fmt;
use std::net::IpAddr;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

use crate::limits::{CONNECT_TIME, KEEP_ALIVE};
use crate::{Error, ErrorKind, Prefix, Result};

/// Where etcd is, and how it is spoken to.
#[derive(Clone)]
pub struct EtcdOptions {
    endpoints: Vec<String>,
    tls: Option<EtcdTls>,
    user: Option<(String, String)>,
    prefix: Prefix,
}

/// Whom to trust, and who one is.
#[derive(Clone)]
pub struct EtcdTls {
    authority: Vec<u8>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

const PLAIN: &str = "http://";
const SECURE: &str = "https://";

impl EtcdOptions {
    /// Members of a cluster, as `https://HOST:PORT`.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] where there is none, or one is something else.
    pub fn new(endpoints: &[impl AsRef<str>]) -> Result<Self> {
        let endpoints: Vec<String> = endpoints.iter().map(|at| at.as_ref().to_owned()).collect();
        if endpoints.is_empty() {
            return Err(refused(
                "no member of etcd is named; name one: https://HOST:2379",
            ));
        }
        for endpoint in &endpoints {
            check(endpoint)?;
        }
        Ok(Self {
            endpoints,
            tls: None,
            user: None,
            prefix: Prefix::new(&["vfioctl"]).map_err(|error| refused(&error.to_string()))?,
        })
    }

    /// Speaks TLS.
    #[must_use]
    pub fn with_tls(self, tls: EtcdTls) -> Self {
        let tls = Some(tls);
        Self { tls, ..self }
    }

    /// Says who one is by a password.
    #[must_use]
    pub fn with_user(self, name: &str, password: &str) -> Self {
        let user = Some((name.to_owned(), password.to_owned()));
        Self { user, ..self }
    }

    /// Has all keys below another prefix than `vfioctl/`, so that one etcd serves several clusters.
    #[must_use]
    pub fn with_prefix(self, prefix: Prefix) -> Self {
        Self { prefix, ..self }
    }

    pub(super) fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    pub(super) fn prefix(&self) -> &str {
        self.prefix.as_str()
    }

    pub(super) fn connect_options(&self) -> ConnectOptions {
        let (interval, timeout) = KEEP_ALIVE;
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_TIME)
            .with_keep_alive(interval, timeout)
            .with_keep_alive_while_idle(true)
            // A member that has lost the others says so, instead of being silent for ever.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(tls) = &self.tls {
            let mut tls_options = TlsOptions::new();
            tls_options = tls_options.ca_certificate(Certificate::from_pem(&tls.authority));
            if let Some((certificate, key)) = &tls.identity {
                tls_options = tls_options.identity(Identity::from_pem(certificate, key));
            }
            options = options.with_tls(tls_options);
        }
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password);
        }
        options
    }

    /// Whether the options fit each other.
    pub(super) fn check(&self) -> Result<()> {
        if self.prefix == Prefix::all() {
            return Err(refused(
                "etcd is not for one cluster alone; name a prefix for its keys",
            ));
        }
        for endpoint in &self.endpoints {
            let is_secure = endpoint.starts_with(SECURE);
            if is_secure != self.tls.is_some() {
                let what = match is_secure {
                    true => format!("'{endpoint}' speaks TLS; name the authority to trust"),
                    false => format!("'{endpoint}' does not speak TLS; begin it with {SECURE}"),
                };
                return Err(refused(&what));
            }
        }
        Ok(())
    }
}

impl EtcdTls {
    /// Trusts servers with a certificate of an authority (PEM).
    pub fn new(authority: &[u8]) -> Self {
        Self {
            authority: authority.to_owned(),
            identity: None,
        }
    }

    /// Says who one is by a certificate and its key (PEM).
    #[must_use]
    pub fn with_identity(self, certificate: &[u8], key: &[u8]) -> Self {
        let identity = Some((certificate.to_owned(), key.to_owned()));
        Self { identity, ..self }
    }
}

impl fmt::Debug for EtcdOptions {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for EtcdTls {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdTls").finish_non_exhaustive()
    }
}

/// What a cluster keeps is not for everybody on the way: without TLS it stays on this machine.
fn check(endpoint: &str) -> Result<()> {
    if endpoint.starts_with(SECURE) {
        return Ok(());
    }
    let Some(at) = endpoint.strip_prefix(PLAIN) else {
        return Err(refused(&format!(
            "'{endpoint}' is no member of etcd; write {SECURE}HOST:2379"
        )));
    };
    if is_loopback(at) {
        return Ok(());
    }
    Err(refused(&format!(
        "'{endpoint}' is another machine, and without TLS everybody on the way reads all; write \
         {SECURE}{at}"
    )))
}

fn is_loopback(at: &str) -> bool {
    let host = at.split_once('/').map_or(at, |(host, _)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    host == "localhost" || address.is_ok_and(|address: IpAddr| address.is_loopback())
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::Refused, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tls_it_stays_on_this_machine() {
        for (endpoint, is_fine) in [
            ("http://127.0.0.1:2379", true),
            ("http://localhost:2379/", true),
            ("http://[::1]:2379", true),
            ("https://etcd.example:2379", true),
            ("http://etcd.example:2379", false),
            ("http://10.0.0.1:2379", false),
            ("http://127.0.0.1.example:2379", false),
            ("http://localhost@10.0.0.1:2379", false),
            ("127.0.0.1:2379", false),
            ("", false),
        ] {
            assert_eq!(EtcdOptions::new(&[endpoint]).is_ok(), is_fine, "{endpoint}");
        }
        assert!(EtcdOptions::new(&[""; 0]).is_err());
    }

    #[test]
    fn tls_is_spoken_where_it_is_named() {
        let tls = EtcdTls::new(b"");
        let plain = EtcdOptions::new(&["http://127.0.0.1:1"]).unwrap();
        let secure = EtcdOptions::new(&["https://127.0.0.1:1"]).unwrap();
        assert!(plain.check().is_ok());
        assert!(plain.clone().with_prefix(Prefix::all()).check().is_err());
        assert!(plain.with_tls(tls.clone()).check().is_err());
        assert!(secure.check().is_err());
        assert!(secure.with_tls(tls).check().is_ok());
    }

    #[test]
    fn secrets_are_not_printed() {
        let tls = EtcdTls::new(b"").with_identity(b"", b"secret");
        let options = EtcdOptions::new(&["https://127.0.0.1:1"]).unwrap();
        let options = options.with_user("host", "secret").with_tls(tls.clone());
        assert!(!format!("{options:?} {tls:?}").contains("secret"));
    }
}
