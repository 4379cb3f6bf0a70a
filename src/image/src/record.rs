//! What is known of a base image: the file `NAME.json` beside `NAME.qcow2`.

use serde::{Deserialize, Serialize};

use crate::name::ImageName;

/// Number of the format of the file.
const SCHEMA: u32 = 1;

/// What is known of a base image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    schema: u32,
    name: String,
    /// Size of its disk.
    pub disk_bytes: u64,
    /// Size of its file.
    pub file_bytes: u64,
    /// SHA-256 of its file, in hexadecimal digits.
    pub sha256: String,
    /// When it was put into the folder, in seconds since 1970.
    pub created: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// What it boots with.
    pub firmware: Firmware,
    /// What it has installed; `None` where nobody has said so.
    pub distribution: Option<String>,
    /// Whether it has cloud-init, without which a seed does nothing; `None` where it is not known.
    pub cloud_init: Option<bool>,
}

/// What firmware an image boots with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// UEFI.
    Uefi,
    /// A PC's BIOS.
    Bios,
    /// Either.
    Any,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Origin {
    /// A file that somebody brought.
    File {
        /// Its name, without its folder.
        file: String,
        /// The format it had.
        format: String,
    },
    /// Made of Debian packages.
    Packages {
        /// Debian's name of the release.
        suite: String,
        /// For what it was made.
        variant: String,
        /// SHA-256 of the list of all packages with their versions.
        packages_sha256: String,
        /// How many packages that are.
        packages: u64,
        /// The version of its kernel.
        kernel: String,
    },
}

/// What is said of an image when it is put into the folder; the rest is read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) origin: Origin,
    pub(crate) firmware: Firmware,
    pub(crate) distribution: Option<String>,
    pub(crate) cloud_init: Option<bool>,
}

/// What was read from an image's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) disk_bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) sha256: String,
}

impl Record {
    pub(crate) fn new(name: &ImageName, said: Description, read: Measured, created: u64) -> Self {
        Self {
            schema: SCHEMA,
            name: name.as_str().to_owned(),
            disk_bytes: read.disk_bytes,
            file_bytes: read.file_bytes,
            sha256: read.sha256,
            created,
            origin: said.origin,
            firmware: said.firmware,
            distribution: said.distribution,
            cloud_init: said.cloud_init,
        }
    }

    /// Reads the bytes of the file.
    ///
    /// # Errors
    /// Why they are not the record of this image, as a sentence.
    pub(crate) fn parse(bytes: &[u8], name: &ImageName) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if record.schema != SCHEMA {
            return Err(format!(
                "it has version {}, and {SCHEMA} is known",
                record.schema
            ));
        }
        match record.name == name.as_str() {
            true => Ok(record),
            false => Err(format!("it is the record of '{}'", record.name)),
        }
    }

    /// The bytes of the file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let name: ImageName = "debian-12".parse().unwrap();
        let said = Description {
            origin: Origin::File {
                file: "a.img".to_owned(),
                format: "raw".to_owned(),
            },
            firmware: Firmware::Any,
            distribution: None,
            cloud_init: None,
        };
        let read = Measured {
            disk_bytes: 8 << 30,
            file_bytes: 1000,
            sha256: "ab".to_owned(),
        };
        let record = Record::new(&name, said, read, 1_800_000_000);
        let bytes = record.to_bytes().unwrap();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            "{\n  \"schema\": 1,\n  \"name\": \"debian-12\",\n  \"disk_bytes\": 8589934592,\n  \
             \"file_bytes\": 1000,\n  \"sha256\": \"ab\",\n  \"created\": 1800000000,\n  \
             \"origin\": {\n    \"kind\": \"file\",\n    \"file\": \"a.img\",\n    \
             \"format\": \"raw\"\n  },\n  \"firmware\": \"any\",\n  \"distribution\": null,\n  \
             \"cloud_init\": null\n}\n"
        );
        assert_eq!(Record::parse(&bytes, &name), Ok(record));
        assert!(Record::parse(&bytes, &"other".parse().unwrap()).is_err());
        let text = String::from_utf8(bytes).unwrap();
        let newer = text.replace("\"schema\": 1", "\"schema\": 2");
        assert!(Record::parse(newer.as_bytes(), &name).is_err());
        let more = text.replace("\"schema\"", "\"more\": 1, \"schema\"");
        assert!(Record::parse(more.as_bytes(), &name).is_err());
    }
}
