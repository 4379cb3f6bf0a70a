//! Makes Rust out of the varlink interfaces, and the table of names that requests are held to.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a build that cannot read its own interfaces shall stop at once"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use varlink_parser::{IDL, VStruct, VStructOrEnum, VType, VTypeExt};

const INTERFACES: [&str; 5] = ["Inventory", "Device", "Container", "Acs", "Machine"];

fn main() {
    let out: PathBuf = std::env::var_os("OUT_DIR")
        .expect("cargo sets OUT_DIR")
        .into();
    let mut shapes = String::from("&[\n");
    for name in INTERFACES {
        let file = format!("interfaces/io.vfioctl.{name}.varlink");
        println!("cargo::rerun-if-changed={file}");
        varlink_generator::cargo_build(Path::new(&file));
        let text = std::fs::read_to_string(&file).expect("the interface file is there");
        write_shapes(&text, &mut shapes);
    }
    shapes.push_str("]\n");
    std::fs::write(out.join("shapes.rs"), shapes).expect("OUT_DIR can be written");
}

/// Writes one line a method: its full name and the shape of its parameters.
fn write_shapes(text: &str, shapes: &mut String) {
    let idl = IDL::try_from(text).expect("the interface parses");
    for method in idl.methods.values() {
        let _ = writeln!(
            shapes,
            "(\"{}.{}\", {}),",
            idl.name,
            method.name,
            struct_shape(&idl, &method.input)
        );
    }
}

fn struct_shape(idl: &IDL<'_>, fields: &VStruct<'_>) -> String {
    let fields: Vec<String> = fields
        .elts
        .iter()
        .map(|field| format!("(\"{}\", {})", field.name, type_shape(idl, &field.vtype)))
        .collect();
    format!("Shape::Fields(&[{}])", fields.join(", "))
}

fn type_shape(idl: &IDL<'_>, vtype: &VTypeExt<'_>) -> String {
    match vtype {
        VTypeExt::Array(inner) => format!("Shape::List(&{})", type_shape(idl, inner)),
        VTypeExt::Option(inner) => type_shape(idl, inner),
        VTypeExt::Plain(VType::Struct(fields)) => struct_shape(idl, fields),
        VTypeExt::Plain(VType::Typename(name)) => match &idl.typedefs[name].elt {
            VStructOrEnum::VStruct(fields) => struct_shape(idl, fields),
            VStructOrEnum::VEnum(_) => "Shape::Leaf".to_owned(),
        },
        VTypeExt::Dict(_) | VTypeExt::Plain(_) => "Shape::Leaf".to_owned(),
    }
}
