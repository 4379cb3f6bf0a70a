//! What NVIDIA's driver says of a GPU: `/proc/driver/nvidia/gpus/ADDRESS/information`.
//!
//! Readable by everyone while the driver has the GPU; reading neither wakes nor opens it. The driver is
//! no part of the kernel; the form below is that of its versions 390 to 610 (`nv-procfs.c`). Until
//! a program has opened the GPU for the first time, the UUID is question marks.

use vfioctl_core::pci::PciAddress;

use crate::{ReadError, SysRoot};

/// What NVIDIA's driver says of a GPU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NvidiaInformation {
    /// The model: `NVIDIA H100 80GB HBM3`.
    pub model: Option<String>,
    /// The UUID: `GPU-2a0b...`; absent until the driver has found it out.
    pub uuid: Option<String>,
    /// Number of its node: N of `/dev/nvidiaN`.
    pub minor: Option<u32>,
}

/// Reads what NVIDIA's driver says of a GPU; `None` where it does not have the GPU.
///
/// # Errors
/// Where the file is there and cannot be read.
pub fn read_nvidia_information(
    root: &SysRoot,
    address: PciAddress,
) -> Result<Option<NvidiaInformation>, ReadError> {
    let path = format!("driver/nvidia/gpus/{address}/information");
    Ok(root.proc.read_text(&path)?.map(|text| parse(&text)))
}

fn parse(text: &str) -> NvidiaInformation {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).filter(|value| !value.is_empty())
    };
    NvidiaInformation {
        model: field("Model:").map(str::to_owned),
        uuid: field("GPU UUID:")
            .filter(|uuid| !uuid.contains('?'))
            .map(str::to_owned),
        minor: field("Device Minor:").and_then(|minor| minor.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Model: \t\t NVIDIA H100 80GB HBM3
IRQ:   \t\t 300
GPU UUID: \t GPU-01234567-89ab-cdef-0123-456789abcdef
Video BIOS: \t 96.00.74.00.01
Bus Location: \t 0000:19:00.0
Device Minor: \t 3
GPU Excluded:\t No
";

    #[test]
    fn model_uuid_and_number_are_read() {
        let expected = NvidiaInformation {
            model: Some("NVIDIA H100 80GB HBM3".into()),
            uuid: Some("GPU-01234567-89ab-cdef-0123-456789abcdef".into()),
            minor: Some(3),
        };
        assert_eq!(parse(TEXT), expected);
    }

    #[test]
    fn a_uuid_that_is_not_known_yet_is_none() {
        let text = "GPU UUID: \t GPU-????????-????-????-????-????????????\nDevice Minor: \t x\n";
        assert_eq!(parse(text), NvidiaInformation::default());
        assert_eq!(parse(""), NvidiaInformation::default());
    }
}
