//! `vfioctl image` for people.

use std::fmt::Write as _;

use vfioctl_image::{Firmware, Origin};

use super::utc;
use crate::output::Answered;
use crate::record::{ImageListRecord, ImagePlanRecord, ImageRecord, ImagesRecord};
use crate::table::Table;
use crate::width::plain;

impl Answered for ImagesRecord {
    fn text(&self) -> String {
        match self {
            Self::One { image } => image.text(),
            Self::Many(list) => list.text(),
            Self::Plan { plan } => plan.text(),
            Self::Removed { removed } => format!("removed: {}\n", plain(removed)),
        }
    }
}

impl ImageRecord {
    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "image: {}", plain(&self.name));
        let _ = writeln!(text, "  file: {}", plain(&self.path));
        let _ = writeln!(
            text,
            "  size: a disk of {} in {}",
            size(self.disk_bytes),
            size(self.file_bytes)
        );
        let _ = writeln!(text, "  boots with: {}", firmware(self.firmware));
        let _ = writeln!(
            text,
            "  made: {}, {}",
            moment(self.created),
            self.origin_text()
        );
        let _ = writeln!(text, "  SHA-256: {}", plain(&self.sha256));
        text
    }

    fn origin_text(&self) -> String {
        match &self.origin {
            Origin::File { file, format } => format!("from '{}' ({})", plain(file), plain(format)),
            Origin::Packages {
                suite,
                kernel,
                packages,
                ..
            } => format!(
                "of {packages} packages of Debian '{}', with Linux {}",
                plain(suite),
                plain(kernel)
            ),
        }
    }
}

impl ImageListRecord {
    fn text(&self) -> String {
        let mut text = String::new();
        if !self.images.is_empty() {
            let mut table =
                Table::titled(&["NAME", "DISK", "FILE", "BOOTS WITH", "MADE", "CONTENT"]);
            for image in &self.images {
                table.row([
                    image.name.clone(),
                    size(image.disk_bytes),
                    size(image.file_bytes),
                    firmware(image.firmware).to_owned(),
                    moment(image.created),
                    image.content(),
                ]);
            }
            text = table.text("");
        }
        for problem in &self.problems {
            let _ = writeln!(text, "problem: {}", plain(problem));
        }
        text
    }
}

impl ImageRecord {
    fn content(&self) -> String {
        let content = match &self.distribution {
            Some(distribution) => distribution.clone(),
            None => "not known".to_owned(),
        };
        match self.cloud_init {
            Some(true) => format!("{content}, cloud-init"),
            Some(false) | None => content,
        }
    }
}

impl ImagePlanRecord {
    fn text(&self) -> String {
        let mut text = "by these steps\n".to_owned();
        for (index, step) in self.steps.iter().enumerate() {
            let _ = writeln!(text, "  {}. {}", index + 1, plain(step));
        }
        text + "nothing was changed\n"
    }
}

fn firmware(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Uefi => "UEFI",
        Firmware::Bios => "BIOS",
        Firmware::Any => "UEFI or BIOS",
    }
}

fn moment(seconds: u64) -> String {
    utc(i64::try_from(seconds).unwrap_or(i64::MAX / 1000))
}

/// A size in the unit that leaves few digits, rounded up: what is there is never told smaller.
fn size(bytes: u64) -> String {
    match bytes {
        0..=0xf_ffff => format!("{} KiB", bytes.div_ceil(1 << 10)),
        0x10_0000..=0x3fff_ffff => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ => {
            let tenths = bytes.saturating_mul(10).div_ceil(1 << 30);
            match tenths % 10 {
                0 => format!("{} GiB", tenths / 10),
                tenth => format!("{}.{tenth} GiB", tenths / 10),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::schema::assert_answer;

    fn image(origin: Origin) -> ImageRecord {
        ImageRecord {
            name: "debian-12".to_owned(),
            path: "/images/debian-12.qcow2".to_owned(),
            format: "qcow2",
            disk_bytes: 8 << 30,
            file_bytes: 235_536_384,
            sha256: "ab12".to_owned(),
            created: 1_800_000_000,
            origin,
            firmware: Firmware::Any,
            distribution: Some("Debian 12".to_owned()),
            cloud_init: Some(true),
        }
    }

    fn of_packages() -> ImageRecord {
        image(Origin::Packages {
            suite: "bookworm".to_owned(),
            variant: "gpu".to_owned(),
            packages_sha256: "cd34".to_owned(),
            packages: 229,
            kernel: "6.1.0-56-amd64".to_owned(),
        })
    }

    fn of_file() -> ImageRecord {
        ImageRecord {
            distribution: None,
            cloud_init: None,
            ..image(Origin::File {
                file: "a\u{1b}.img".to_owned(),
                format: "raw".to_owned(),
            })
        }
    }

    #[test]
    fn one_image_is_told_whole() {
        let record = ImagesRecord::One {
            image: of_packages(),
        };
        assert_eq!(
            record.text(),
            "image: debian-12\n  file: /images/debian-12.qcow2\n  \
             size: a disk of 8 GiB in 225 MiB\n  boots with: UEFI or BIOS\n  \
             made: 2027-01-15 08:00:00 UTC, of 229 packages of Debian 'bookworm', with Linux \
             6.1.0-56-amd64\n  SHA-256: ab12\n"
        );
        assert_answer("image", &record);
    }

    #[test]
    fn images_are_a_table_and_problems_stand_below() {
        let record = ImagesRecord::Many(ImageListRecord {
            images: vec![of_packages(), of_file()],
            problems: vec!["the image 'x' cannot be used: it rains".to_owned()],
        });
        assert_eq!(
            record.text(),
            "NAME       DISK   FILE     BOOTS WITH    MADE                     CONTENT\n\
             debian-12  8 GiB  225 MiB  UEFI or BIOS  2027-01-15 08:00:00 UTC  Debian 12, cloud-init\n\
             debian-12  8 GiB  225 MiB  UEFI or BIOS  2027-01-15 08:00:00 UTC  not known\n\
             problem: the image 'x' cannot be used: it rains\n"
        );
        assert_answer("image", &record);
    }

    #[test]
    fn a_plan_and_a_removal_are_told() {
        let plan = ImagePlanRecord {
            steps: vec!["copy\n it".to_owned(), "name it".to_owned()],
        };
        let record = ImagesRecord::Plan { plan };
        assert_eq!(
            record.text(),
            "by these steps\n  1. copy\\n it\n  2. name it\nnothing was changed\n"
        );
        assert_answer("image", &record);
        let record = ImagesRecord::Removed {
            removed: "debian-12".to_owned(),
        };
        assert_eq!(record.text(), "removed: debian-12\n");
        assert_answer("image", &record);
        assert!(of_file().text().contains("from 'a\\u{1b}.img' (raw)"));
    }

    #[test]
    fn sizes_are_short_and_never_too_small() {
        for (bytes, text) in [
            (0, "0 KiB"),
            (1, "1 KiB"),
            (1 << 20, "1 MiB"),
            ((1 << 20) + 1, "2 MiB"),
            (8 << 30, "8 GiB"),
            ((8 << 30) + 1, "8.1 GiB"),
            (16 << 40, "16384 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
