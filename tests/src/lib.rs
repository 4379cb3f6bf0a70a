//! Tests of vfioctl as a whole.
//!
//! A case ([`cases`]) is written once and run in two worlds ([`world`]): on a machine in a folder
//! whose kernel is ours ([`fake`]), which can be told to fail at any step, and in the lab
//! ([`lab`]), a virtual machine with a real kernel, an IOMMU and devices that can be bound, reset
//! and passed through without harm to the machine that runs the tests. [`guest`] is the machine
//! that is started in it. [`differential`] holds the predictor of IOMMU groups against the kernel.
//! [`cluster`] has real hosts on the loopback. [`service`] starts what the control plane needs beside
//! it: etcd, Docker and Podman. [`debian`] boots machines of the base image that is made of packages.
//! [`node`] is a node of a cluster: a runner in a process of its own, and a host that gives it work.
//! [`raw`] is a caller that keeps no rules. [`schema`] holds answers against `docs/schema/`; [`suite`]
//! runs it all and reports what could not run, and why.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::exit,
    reason = "a test that cannot go on shall end"
)]

pub mod cases;
pub mod cluster;
pub mod debian;
pub mod differential;
pub mod fake;
pub mod guest;
pub mod guide;
pub mod lab;
pub mod node;
pub mod raw;
pub mod schema;
pub mod service;
pub mod strace;
pub mod suite;
pub mod world;
