//! Base address registers: the windows of a device in memory.

/// What a base address register decodes (PCI Express Base 6.0, section 7.5.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BarKind {
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; takes two registers.
    Memory64,
    /// I/O ports.
    Io,
    /// The expansion ROM (line 6 of the kernel's `resource` file).
    Rom,
}

/// One base address register as the kernel assigned it (`resource` in sysfs).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bar {
    /// Number of the register, 0 to 5; 6 for the ROM.
    pub index: u8,
    /// What it decodes.
    pub kind: BarKind,
    /// Whether reads have no side effect, so that large windows can be mapped whole.
    pub prefetchable: bool,
    /// Size of the window in bytes.
    pub size_bytes: u64,
}
