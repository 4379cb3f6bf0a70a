//! What a cluster is kept in: a file of this host's, or etcd.

use std::sync::Arc;

use vfioctl_store::Store;

use crate::configuration::{Configuration, StoreKind};
use crate::start::StartError;

/// Opens what the configuration names.
pub(crate) async fn open(configuration: &Configuration) -> Result<Arc<dyn Store>, StartError> {
    match configuration.store {
        StoreKind::Embedded => Ok(Arc::new(vfioctl_store::MemoryStore::new())),
        StoreKind::Etcd => Err(StartError::new("cannot open etcd", &"not yet")),
    }
}
