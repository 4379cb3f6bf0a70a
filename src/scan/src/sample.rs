//! Machines in folders, for tests: a few files and nothing else.

use tempfile::TempDir;

use crate::SysRoot;

/// A machine whose PCI functions have these files, each named by address and path and with this text.
pub(crate) fn devices(files: &[(&str, &str)]) -> (TempDir, SysRoot) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("proc")).unwrap();
    let devices = folder.path().join("sys/bus/pci/devices");
    std::fs::create_dir_all(&devices).unwrap();
    for (path, text) in files {
        let path = devices.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{text}\n")).unwrap();
    }
    let root = SysRoot::below(folder.path()).unwrap();
    (folder, root)
}
