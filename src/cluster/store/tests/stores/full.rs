//! A disk that is really full: a small file system in memory, in a name space of its own.

use std::env::{args_os, current_exe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};
use tokio::runtime::Builder;
use vfioctl_store::{EmbeddedStore, ErrorKind, Key, Prefix, Store, Transaction};

const ASK: &str = "--store-on-full-disk";
const MOUNT: &str =
    "mount -t tmpfs -o size=12m,mode=700 store-test \"$1\" && exec \"$2\" \"$3\" \"$1\"";

pub(crate) fn trial() -> Trial {
    let name = "embedded::a_full_file_system_fails_writes_until_there_is_room";
    Trial::ignorable_test(name, || {
        let folder = tempfile::tempdir().unwrap();
        let in_space = |program: &Path| {
            let mut command = Command::new("unshare");
            command.args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                MOUNT,
                "sh",
            ]);
            command
                .arg(folder.path())
                .arg(program)
                .arg(ASK)
                .stdin(Stdio::null());
            command.output()
        };
        let may = in_space(Path::new("true"));
        if !may.is_ok_and(|output| output.status.success()) {
            return Ok(Completion::ignored_with(
                "a file system cannot be mounted here",
            ));
        }
        let run = in_space(&current_exe().unwrap()).unwrap();
        match run.status.success() {
            true => Ok(Completion::Completed),
            false => Err(Failed::from(
                String::from_utf8_lossy(&run.stderr).into_owned(),
            )),
        }
    })
}

/// This program is also the one that meets the full disk.
pub(crate) fn run_if_asked() {
    let arguments: Vec<_> = args_os().collect();
    if arguments.len() == 3 && arguments[1] == ASK {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(fill(Path::new(&arguments[2])));
        #[expect(clippy::exit, reason = "the tests are not run in here")]
        std::process::exit(0);
    }
}

async fn fill(folder: &Path) {
    let (path, ballast) = (folder.join("store"), folder.join("ballast"));
    std::fs::write(&ballast, vec![0; 6 << 20]).unwrap();
    let store = EmbeddedStore::open(&path).await.unwrap();
    let key = |number: usize| Key::new(&["fill", &format!("{number:03}")]).unwrap();
    let put = |number: usize| Transaction::new().put(&key(number), vec![7; 100_000]);
    let mut count = 0;
    let error = loop {
        match store.commit(put(count)).await {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(count > 3, "{count}");
    let listed = |store: EmbeddedStore| async move {
        let listed = store.list(&Prefix::all()).await.unwrap();
        assert!(
            listed
                .entries
                .iter()
                .all(|entry| entry.value.len() == 100_000)
        );
        listed.entries.len()
    };
    assert_eq!(listed(store.clone()).await, count);
    // It stays so, and breaks nothing.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let error = store.commit(put(count)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    std::fs::remove_file(&ballast).unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(store.commit(put(count)).await.is_ok());
    assert_eq!(listed(store.clone()).await, count + 1);
    store.close().await;
    let store = EmbeddedStore::open(&path).await.unwrap();
    assert_eq!(listed(store.clone()).await, count + 1);
    store.close().await;
}
