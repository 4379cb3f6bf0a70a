//! Links the command at a fixed address.
//!
//! The names of all PCI devices are compiled in: a hundred thousand pointers. In a program that
//! may be loaded anywhere each of them is mended at every start, which reads and writes three
//! megabytes before the first line runs, three quarters of the time of a short command. The
//! command has no privilege to lose by a fixed address; the helper is linked as usual.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-no-pie");
}
