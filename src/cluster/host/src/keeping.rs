//! What a cluster is kept in: a file of this host's, or etcd.

use std::error::Error as _;
use std::sync::Arc;

use vfioctl_store::{EmbeddedStore, Error, Store};

use crate::configuration::{Configuration, StoreKind};
use crate::start::StartError;

/// The file, in the host's folder.
const FILE: &str = "store.redb";

/// Opens what the configuration names.
pub(crate) async fn open(configuration: &Configuration) -> Result<Arc<dyn Store>, StartError> {
    match configuration.store {
        StoreKind::Embedded => {
            let path = configuration.data.join(FILE);
            let store = EmbeddedStore::open(&path).await.map_err(|error| {
                let what = format!("cannot open the store in '{}'", path.display());
                StartError::new(what, &whole(&error)).hint(
                    "end the host that has it open ('systemctl stop vfioctl-host'), or mend what is said",
                )
            })?;
            Ok(Arc::new(store))
        }
        StoreKind::Etcd => etcd::open(&configuration.etcd).await,
    }
}

/// An error with its causes.
fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(feature = "etcd")]
mod etcd {
    use std::path::Path;
    use std::sync::Arc;

    use vfioctl_store::{EtcdOptions, EtcdStore, EtcdTls, Store};

    use super::whole;
    use crate::configuration::Etcd;
    use crate::start::StartError;

    /// Longest file that is read: a certificate with what signed it, a key, a password.
    const MAX_BYTES: u64 = 256 << 10;

    pub(super) async fn open(configuration: &Etcd) -> Result<Arc<dyn Store>, StartError> {
        let failed = |error: &vfioctl_store::Error| {
            StartError::new("cannot open the store in etcd", &whole(error))
                .hint("look at [host.etcd] in the configuration, and at 'etcdctl endpoint health'")
        };
        let mut options =
            EtcdOptions::new(&configuration.endpoints).map_err(|error| failed(&error))?;
        if let Some(authority) = &configuration.authority {
            let mut tls = EtcdTls::new(&read(authority)?);
            if let (Some(certificate), Some(key)) = (&configuration.certificate, &configuration.key)
            {
                tls = tls.with_identity(&read(certificate)?, &read(key)?);
            }
            options = options.with_tls(tls);
        }
        if let (Some(user), Some(file)) = (&configuration.user, &configuration.password_file) {
            let password = read(file)?;
            let password = String::from_utf8_lossy(&password);
            options = options.with_user(user, password.trim_end_matches(['\r', '\n']));
        }
        let store = EtcdStore::connect(&options)
            .await
            .map_err(|error| failed(&error))?;
        Ok(Arc::new(store))
    }

    fn read(path: &Path) -> Result<Vec<u8>, StartError> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes))
            .map_err(|error| {
                StartError::new(format!("cannot read '{}'", path.display()), &error)
            })?;
        Ok(bytes)
    }
}

#[cfg(not(feature = "etcd"))]
mod etcd {
    use std::sync::Arc;

    use vfioctl_store::Store;

    use crate::configuration::Etcd;
    use crate::start::StartError;

    #[expect(clippy::unused_async, reason = "what there is with the feature waits")]
    pub(super) async fn open(_: &Etcd) -> Result<Arc<dyn Store>, StartError> {
        let because = "this program was built without etcd";
        Err(StartError::new("cannot open the store in etcd", &because).hint(
            "build it with 'cargo build --release --features vfioctl-host/etcd', which takes Debian's \
             packages protobuf-compiler and libprotobuf-dev; or keep the cluster in a file: [host] store = \
             \"embedded\"",
        ))
    }
}
