//! PCI functions: where they are, what they are, and how they hang together.

mod address;
mod bar;
mod function;
mod ids;
mod path;
mod tree;

pub use address::{AddressError, PciAddress};
pub use bar::{Bar, BarKind};
pub use function::{DriverName, GroupId, InvalidDriverName, PciFunction, SriovRole};
pub use ids::{ClassCode, Identity};
pub use path::{InvalidPciPath, PciPath};
pub use tree::{TreeLine, tree_lines};
