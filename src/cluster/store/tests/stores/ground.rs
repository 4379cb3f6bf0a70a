//! Grounds for the contract that need nothing but this machine.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tempfile::TempDir;
use vfioctl_store::contract::Ground;
use vfioctl_store::{EmbeddedStore, MemoryStore, Store};

pub(crate) struct Memory;

#[async_trait]
impl Ground for Memory {
    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new())
    }
}

/// A folder, with a file for each store.
pub(crate) struct Embedded {
    folder: TempDir,
    stores: Mutex<Vec<EmbeddedStore>>,
}

impl Embedded {
    pub(crate) fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
            stores: Mutex::default(),
        }
    }

    fn path(&self, number: usize) -> PathBuf {
        self.folder.path().join(number.to_string())
    }

    async fn open(&self, number: usize) -> Arc<dyn Store> {
        let store = EmbeddedStore::open(&self.path(number)).await.unwrap();
        let mut stores = self.stores.lock().unwrap();
        stores.truncate(number);
        stores.push(store.clone());
        Arc::new(store)
    }
}

#[async_trait]
impl Ground for Embedded {
    async fn store(&self) -> Arc<dyn Store> {
        let number = self.stores.lock().unwrap().len();
        self.open(number).await
    }

    async fn restart(&self, _: Arc<dyn Store>) -> Arc<dyn Store> {
        let last = self.stores.lock().unwrap().last().cloned().unwrap();
        last.close().await;
        self.open(0).await
    }
}
