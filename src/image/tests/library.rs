//! A library in a real folder, with the real qemu-img: what comes in, what stays out, and what is
//! left when something ends in the middle.

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use vfioctl_image::{
        DiskSize, Error, ErrorKind, Firmware, Image, ImageName, Import, Library, Overlay,
    };

    /// A library and a folder of machines, or nothing where qemu-img is not installed.
    struct Site {
        folder: tempfile::TempDir,
        library: Library,
    }

    impl Site {
        fn new() -> Option<Self> {
            if !Path::new("/usr/bin/qemu-img").exists() {
                eprintln!("SKIPPED: qemu-img is not installed here");
                return None;
            }
            let folder = tempfile::tempdir().unwrap();
            let library = Library::at(folder.path().join("images"), None);
            fs::create_dir(folder.path().join("machines")).unwrap();
            Some(Self { folder, library })
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// A raw disk that could be booted from, with something at its end.
        fn raw(&self, mib: u64) -> PathBuf {
            let path = self.path("disk.raw");
            let file = File::create(&path).unwrap();
            file.set_len(mib << 20).unwrap();
            file.write_all_at(&[0x55, 0xaa], 510).unwrap();
            file.write_all_at(b"the end", (mib << 20) - 512).unwrap();
            path
        }

        fn qemu_img(&self, words: &[&str]) {
            let mut command = Command::new("qemu-img");
            let output = command.args(words).current_dir(self.folder.path()).output();
            let output = output.unwrap();
            assert!(output.status.success(), "{output:?}");
        }

        fn import(&self, file: &Path, name: &str) -> Result<Image, Error> {
            import(file, name).run(&self.library, &mut |_| {})
        }

        /// Imports a raw disk of 16 MiB.
        fn base(&self) -> Image {
            self.import(&self.raw(16), "base").unwrap()
        }

        /// The names in the library's folder, but for the lock.
        fn files(&self) -> Vec<String> {
            let entries = fs::read_dir(self.library.folder()).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.filter(|name| name != ".lock").collect();
            names.sort();
            names
        }

        fn listed(&self) -> Vec<String> {
            let listing = self.library.list().unwrap();
            assert_eq!(listing.problems, Vec::<String>::new());
            listing
                .images
                .iter()
                .map(|image| image.name.to_string())
                .collect()
        }
    }

    fn name(text: &str) -> ImageName {
        text.parse().unwrap()
    }

    fn import(file: &Path, image: &str) -> Import {
        Import {
            file: file.to_owned(),
            name: name(image),
            firmware: Firmware::Any,
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_raw_disk_becomes_qcow2_and_is_readable_for_the_group_only() {
        let Some(site) = Site::new() else { return };
        let image = site.base();
        assert_eq!(site.files(), ["base.json", "base.qcow2"]);
        assert_eq!(image.record.disk_bytes, 16 << 20);
        assert_eq!(
            image.record.file_bytes,
            fs::metadata(&image.path).unwrap().len()
        );
        assert_eq!(site.library.find(&name("base")).unwrap(), image);
        assert_eq!(mode(site.library.folder()), 0o750);
        for file in ["base.json", "base.qcow2", ".lock"] {
            assert_eq!(mode(&site.library.folder().join(file)), 0o640, "{file}");
        }
        let back = ["convert", "-O", "raw", "images/base.qcow2", "back.raw"];
        site.qemu_img(&back);
        assert!(
            fs::read(site.path("back.raw")).unwrap() == fs::read(site.path("disk.raw")).unwrap()
        );
    }

    #[test]
    fn a_qcow2_file_is_taken_as_it_is() {
        let Some(site) = Site::new() else { return };
        site.qemu_img(&["create", "-q", "-f", "qcow2", "a.qcow2", "1G"]);
        let file = site.path("a.qcow2");
        let image = site.import(&file, "a").unwrap();
        assert!(fs::read(&image.path).unwrap() == fs::read(&file).unwrap());
        let sum = Command::new("sha256sum")
            .arg(&file)
            .output()
            .unwrap()
            .stdout;
        assert_eq!(
            String::from_utf8(sum).unwrap().get(..64),
            Some(image.record.sha256.as_str())
        );
        // The same again is no replacement.
        let error = site.import(&file, "a").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exists);
        assert_eq!(site.files(), ["a.json", "a.qcow2"]);
    }

    #[test]
    fn hostile_files_leave_nothing_behind() {
        let Some(site) = Site::new() else { return };
        site.qemu_img(&["create", "-q", "-f", "qcow2", "whole.qcow2", "64M"]);
        site.qemu_img(&[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-u",
            "-b",
            "/etc/shadow",
            "-F",
            "raw",
            "backing.qcow2",
            "64M",
        ]);
        site.qemu_img(&[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-u",
            "-F",
            "raw",
            "-b",
            "json:{\"driver\":\"file\",\"filename\":\"/etc/shadow\"}",
            "json.qcow2",
            "64M",
        ]);
        site.qemu_img(&[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-o",
            "data_file=data.raw,data_file_raw=on",
            "data.qcow2",
            "64M",
        ]);
        let edited = |name: &str, offset: u64, bytes: &[u8]| {
            fs::copy(site.path("whole.qcow2"), site.path(name)).unwrap();
            let file = File::options().write(true).open(site.path(name)).unwrap();
            file.write_all_at(bytes, offset).unwrap();
        };
        edited("huge.qcow2", 24, &(1_u64 << 62).to_be_bytes());
        edited("encrypted.qcow2", 32, &2_u32.to_be_bytes());
        // The table of the disk's clusters is said to lie where there is none.
        edited("lost.qcow2", 40, &(1_u64 << 50).to_be_bytes());
        edited("many.qcow2", 36, &u32::MAX.to_be_bytes());
        edited("unknown.qcow2", 72, &(1_u64 << 40).to_be_bytes());
        fs::write(site.path("text"), "root::0:0:::\n".repeat(100)).unwrap();
        let cut = fs::read(site.path("whole.qcow2")).unwrap();
        fs::write(site.path("cut.qcow2"), &cut[..70]).unwrap();
        std::os::unix::fs::symlink("/dev/zero", site.path("device")).unwrap();
        for (file, kind) in [
            ("backing.qcow2", ErrorKind::Refused),
            ("json.qcow2", ErrorKind::Refused),
            ("data.qcow2", ErrorKind::Refused),
            ("huge.qcow2", ErrorKind::Refused),
            ("encrypted.qcow2", ErrorKind::Refused),
            ("lost.qcow2", ErrorKind::Refused),
            ("many.qcow2", ErrorKind::Program),
            ("unknown.qcow2", ErrorKind::Refused),
            ("text", ErrorKind::Refused),
            ("cut.qcow2", ErrorKind::Refused),
            ("device", ErrorKind::File),
            ("none", ErrorKind::File),
        ] {
            let path = site.path(file);
            let error = site.import(&path, "hostile").unwrap_err();
            assert_eq!(error.kind(), kind, "{file}: {error}");
            if site.library.folder().exists() {
                assert_eq!(site.files(), Vec::<String>::new(), "{file}");
            }
        }
    }

    #[test]
    fn a_plan_changes_nothing_and_refuses_the_same() {
        let Some(site) = Site::new() else { return };
        let raw = site.raw(4);
        let steps = import(&raw, "a").plan(&site.library).unwrap();
        assert_eq!(steps.len(), 4);
        assert_eq!(steps[1], "convert it to qcow2");
        assert!(!site.library.folder().exists());
        fs::write(site.path("text"), "x").unwrap();
        let error = import(&site.path("text"), "a")
            .plan(&site.library)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
    }

    #[test]
    fn of_two_at_once_one_wins_and_the_other_is_told() {
        let Some(site) = Site::new() else { return };
        let raw = site.raw(64);
        let ended: Vec<Result<Image, Error>> = std::thread::scope(|scope| {
            let run = || scope.spawn(|| site.import(&raw, "same"));
            let all = [run(), run(), run()];
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = ended.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1);
        for error in lost {
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Exists);
        }
        assert_eq!(site.files(), ["same.json", "same.qcow2"]);
        assert_eq!(site.listed(), ["same"]);
    }

    /// The test that kills runs itself again, told by this variable to import and nothing else.
    const IMPORT: &str = "VFIOCTL_TEST_IMPORT";

    #[test]
    fn an_import_that_is_killed_leaves_no_image_and_no_trace() {
        if let Some(folder) = std::env::var_os(IMPORT).map(PathBuf::from) {
            let library = Library::at(folder.join("images"), None);
            let done = import(&folder.join("disk.raw"), "killed").run(&library, &mut |_| {});
            return drop(done.unwrap());
        }
        let Some(site) = Site::new() else { return };
        let file = site.raw(64);
        // Something to copy, so that there is a middle.
        let disk = File::options().write(true).open(&file).unwrap();
        for mib in 1..63 {
            disk.write_all_at(&[u8::try_from(mib).unwrap(); 1 << 20], mib << 20)
                .unwrap();
        }
        let (mut whole, mut round) = (0, 0_u32);
        while round < 12 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "tests::an_import_that_is_killed_leaves_no_image_and_no_trace",
                ])
                .env(IMPORT, site.folder.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(u64::from(20 * round)));
            child.kill().unwrap();
            child.wait().unwrap();
            round += 1;
            if !site.library.folder().exists() {
                continue;
            }
            // The sweeper needs a moment; after that there is all of it or nothing.
            let deadline = Instant::now() + Duration::from_secs(20);
            while site.files().iter().any(|name| name.starts_with(".vfioctl")) {
                assert!(Instant::now() < deadline, "{:?} is left", site.files());
                std::thread::sleep(Duration::from_millis(20));
            }
            if site.listed() == ["killed"] {
                whole += 1;
                site.library
                    .remove(&name("killed"), &site.path("machines"))
                    .unwrap();
            }
            assert_eq!(site.listed(), Vec::<String>::new());
        }
        eprintln!("{whole} of {round} were done before they were killed");
        // What a crash of the machine leaves, the next import takes away.
        let left = site.library.folder().join(".vfioctl-image-left");
        fs::create_dir(&left).unwrap();
        let image = site.base();
        assert!(!left.exists());
        fs::remove_file(&image.path).unwrap();
        fs::write(site.library.folder().join("other.json"), "{}").unwrap();
        site.import(&file, "next").unwrap();
        assert_eq!(site.files(), ["next.json", "next.qcow2", "other.json"]);
    }

    #[test]
    fn a_folder_that_everybody_may_write_to_is_refused() {
        let Some(site) = Site::new() else { return };
        fs::create_dir(site.library.folder()).unwrap();
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(site.library.folder(), open).unwrap();
        let error = site.import(&site.raw(4), "a").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
    }

    #[test]
    fn an_image_whose_file_was_changed_is_not_used_and_can_be_removed() {
        let Some(site) = Site::new() else { return };
        let image = site.base();
        File::options()
            .append(true)
            .open(&image.path)
            .unwrap()
            .set_len(100)
            .unwrap();
        assert_eq!(
            site.library.find(&image.name).unwrap_err().kind(),
            ErrorKind::Broken
        );
        let listing = site.library.list().unwrap();
        assert_eq!((listing.images.len(), listing.problems.len()), (0, 1));
        let machines = site.path("machines");
        site.library.remove(&image.name, &machines).unwrap();
        assert_eq!(site.files(), Vec::<String>::new());
        let error = site.library.remove(&image.name, &machines).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn an_overlay_keeps_its_image_until_it_is_gone() {
        let Some(site) = Site::new() else { return };
        let image = site.base();
        let machines = site.path("machines");
        let machine = machines.join("1000/train");
        fs::create_dir_all(&machine).unwrap();
        let disk = machine.join("disk.qcow2");
        let size: DiskSize = "1GiB".parse().unwrap();
        let group = Some(fs::metadata(&machine).unwrap().gid());
        let overlay = Overlay::create(&image, &disk, size, group).unwrap();
        assert_eq!(
            (overlay.path.as_path(), overlay.disk_bytes),
            (disk.as_path(), 1 << 30)
        );
        assert_eq!(mode(&disk), 0o660);
        assert_eq!(fs::read_dir(&machine).unwrap().count(), 1);
        let info = Command::new("qemu-img")
            .args(["info", "--output=json"])
            .arg(&disk)
            .output();
        let info: serde_json::Value = serde_json::from_slice(&info.unwrap().stdout).unwrap();
        assert_eq!(info["full-backing-filename"], image.path.to_str().unwrap());
        assert_eq!(info["backing-filename"], image.path.to_str().unwrap());
        assert_eq!(info["backing-filename-format"], "qcow2");
        assert_eq!(info["virtual-size"], 1 << 30);
        // A second one in its place, or one that is too small, is refused.
        let again = Overlay::create(&image, &disk, size, None).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Exists);
        let small = "8MiB".parse().unwrap();
        let error = Overlay::create(&image, &machine.join("b"), small, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);

        for refused in [
            site.library.remove(&image.name, &machines),
            site.library
                .plan_removal(&image.name, &machines)
                .map(|_| ()),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InUse);
        }
        assert_eq!(site.listed(), ["base"]);
        fs::remove_file(&disk).unwrap();
        site.library.remove(&image.name, &machines).unwrap();
        assert_eq!(site.listed(), Vec::<String>::new());
        // A machine cannot be made of what is no longer there.
        let error = Overlay::create(&image, &disk, size, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!disk.exists());
    }

    #[test]
    fn an_overlay_is_known_by_whatever_path_it_names_its_image() {
        let Some(site) = Site::new() else { return };
        let image = site.base();
        let machines = site.path("machines");
        std::os::unix::fs::symlink(&image.path, site.path("link")).unwrap();
        for backing in [
            "../images/base.qcow2",
            site.path("link").to_str().unwrap(),
            "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"/x/base.qcow2\"}}",
        ] {
            site.qemu_img(&[
                "create",
                "-q",
                "-f",
                "qcow2",
                "-u",
                "-F",
                "qcow2",
                "-b",
                backing,
                "machines/disk",
                "32M",
            ]);
            let error = site.library.remove(&image.name, &machines).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InUse, "{backing}");
            fs::remove_file(site.path("machines/disk")).unwrap();
        }
        // Somebody else's overlay is no reason, and no file that is none.
        site.qemu_img(&[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-u",
            "-F",
            "qcow2",
            "-b",
            "/other.qcow2",
            "machines/disk",
            "32M",
        ]);
        fs::write(site.path("machines/log"), "base.qcow2").unwrap();
        site.library.remove(&image.name, &machines).unwrap();
    }

    #[test]
    fn an_image_that_may_be_in_use_where_nobody_can_look_stays() {
        let Some(site) = Site::new() else { return };
        let image = site.base();
        let machines = site.path("machines");
        // Deeper than machines are: whoever put it there knows what it is, and nobody else.
        fs::create_dir_all(machines.join("a/b/c/d/e")).unwrap();
        let error = site.library.remove(&image.name, &machines).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Hidden);
        assert_eq!(site.listed(), ["base"]);
    }
}
