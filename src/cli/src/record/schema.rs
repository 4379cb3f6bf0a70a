//! Checks answers against `docs/schema/`: as much of JSON Schema as these use, and a schema that
//! uses more fails.

use serde::Serialize;
use serde_json::Value;

use crate::output::json_text;

/// Makes sure that the record, as it is printed, has the shape of the schema of this name.
pub(crate) fn assert_answer(schema: &str, record: &impl Serialize) {
    let text = json_text(record).unwrap_or_else(|failure| panic!("{}", failure.text()));
    check_text(schema, &text);
}

/// Makes sure that a printed answer has the shape of the schema of this name.
pub(crate) fn check_text(schema: &str, text: &str) {
    let path = format!(
        "{}/../../docs/schema/{schema}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let root: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let answer: Value = serde_json::from_str(text).unwrap();
    if let Err(problem) = check(&root, &root, &answer, "$") {
        panic!("{schema}.json: {problem}\n{text}");
    }
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let object = schema
        .as_object()
        .ok_or(format!("{at}: the schema is not an object"))?;
    for (key, rule) in object {
        let is_fine = match key.as_str() {
            "$schema"
            | "$id"
            | "title"
            | "description"
            | "$defs"
            | "properties"
            | "additionalProperties" => true,
            "$ref" => {
                let path = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(
                    root,
                    root.pointer(path).ok_or(format!("{at}: no {path}"))?,
                    value,
                    at,
                )?;
                true
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|name| has_type(value, name)),
                name => has_type(value, name),
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value
                .as_i64()
                .is_none_or(|number| number >= rule.as_i64().unwrap()),
            "required" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|name| value.get(name.as_str().unwrap()).is_some()),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{at}[{index}]"))?;
                }
                true
            }
            "oneOf" => {
                let each = rule.as_array().unwrap().iter();
                each.filter(|one| check(root, one, value, at).is_ok())
                    .count()
                    == 1
            }
            other => return Err(format!("{at}: '{other}' is not known to this check")),
        };
        if !is_fine {
            return Err(format!("{at}: breaks {key}: {rule}"));
        }
    }
    check_fields(root, schema, value, at)
}

fn check_fields(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let (Some(rules), Some(fields)) = (schema.get("properties"), value.as_object()) else {
        return check_values(root, schema, value, at);
    };
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Err(format!("{at}: the schema is open"));
    }
    // A field that is documented and never there is as wrong as one that is not documented.
    for name in rules.as_object().unwrap().keys() {
        if !fields.contains_key(name) {
            return Err(format!("{at}: '{name}' is missing"));
        }
    }
    for (name, field) in fields {
        let rule = rules
            .get(name)
            .ok_or(format!("{at}: '{name}' is not documented"))?;
        check(root, rule, field, &format!("{at}.{name}"))?;
    }
    Ok(())
}

/// A map: names that nobody knows beforehand, all with values of one shape.
fn check_values(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(rule @ Value::Object(_)) = schema.get("additionalProperties") {
        for (name, field) in value.as_object().into_iter().flatten() {
            check(root, rule, field, &format!("{at}.{name}"))?;
        }
    }
    Ok(())
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("'{other}' is no type"),
    }
}
