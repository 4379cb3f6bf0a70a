//! The names that a request may use.
//!
//! The varlink crate ignores parameters it does not know: `{"address":"x","dryrun":true}` would
//! really bind. Here every name in a request, at any depth, must stand in the interface.

use serde_json::Value;

/// What a parameter may look like, as far as names go.
#[derive(Debug)]
pub enum Shape {
    /// A value without names of ours in it.
    Leaf,
    /// A list of such values.
    List(&'static Self),
    /// An object with these fields.
    Fields(&'static [(&'static str, Self)]),
}

/// Every method of our interfaces with the shape of its parameters; generated.
static SHAPES: &[(&str, Shape)] = include!(concat!(env!("OUT_DIR"), "/shapes.rs"));

/// The first name in the parameters of a call that its interface does not have, with its path.
/// `None` too for methods of other interfaces, which are not ours to judge.
pub fn find_unknown_parameter(method: &str, parameters: &Value) -> Option<String> {
    let (_, shape) = SHAPES.iter().find(|(name, _)| *name == method)?;
    find_unknown(shape, parameters, "")
}

fn find_unknown(shape: &Shape, value: &Value, path: &str) -> Option<String> {
    match (shape, value) {
        (Shape::Fields(fields), Value::Object(object)) => {
            object.iter().find_map(|(name, inner)| {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                match fields.iter().find(|(known, _)| known == name) {
                    None => Some(path),
                    Some((_, shape)) => find_unknown(shape, inner, &path),
                }
            })
        }
        (Shape::List(shape), Value::Array(values)) => values
            .iter()
            .enumerate()
            .find_map(|(index, inner)| find_unknown(shape, inner, &format!("{path}[{index}]"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_the_interface_does_not_have_is_found_at_any_depth() {
        let unknown = |method: &str, value| find_unknown_parameter(method, &value);
        let bind = "io.vfioctl.Device.Bind";
        assert_eq!(
            unknown(bind, json!({"address": "x", "members": ["y"]})),
            None
        );
        assert_eq!(
            unknown(bind, json!({"address": "x", "dryrun": true})),
            Some("dryrun".into())
        );
        let create = "io.vfioctl.Machine.Create";
        assert_eq!(
            unknown(create, json!({"spec": {"disks": [{"path": "/d"}]}})),
            None
        );
        assert_eq!(
            unknown(create, json!({"spec": {"disks": [{}, {"pth": "/d"}]}})),
            Some("spec.disks[1].pth".into())
        );
        assert_eq!(
            unknown(create, json!({"spec": {"kernel": {"raw": 1}}})),
            Some("spec.kernel.raw".into())
        );
    }
}
