//! Holds an answer against its schema in `docs/schema/`: as much of JSON Schema as these use, and
//! a schema that uses more fails.

use std::path::Path;

use serde_json::Value;

/// Makes sure that an answer has the shape of the schema of this name.
///
/// # Panics
/// Where it has not, or there is no such schema.
#[track_caller]
pub fn assert_shape(name: &str, answer: &Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    let schema: Value = serde_json::from_str(&text).unwrap();
    if let Err(problem) = check(&schema, &schema, answer, "$") {
        panic!("{name}.json: {problem}");
    }
}

/// Holds a value against a schema that is a part of a document, as of an OpenAPI description.
///
/// # Errors
/// What it breaks.
pub fn conforms(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    check(document, schema, value, "$")
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let rules = schema.as_object().ok_or(format!("{at}: no schema"))?;
    for (key, rule) in rules {
        check_rule(root, schema, key, rule, value, at)?;
    }
    Ok(())
}

fn check_rule(
    root: &Value,
    schema: &Value,
    key: &str,
    rule: &Value,
    value: &Value,
    at: &str,
) -> Result<(), String> {
    let is_kept = match key {
        "$schema" | "$id" | "title" | "description" | "$defs" | "format" | "examples" => true,
        "allOf" => {
            for one in one_or_many(rule) {
                check(root, &one, value, at)?;
            }
            true
        }
        "maximum" => value
            .as_f64()
            .is_none_or(|number| Some(number) <= rule.as_f64()),
        "$ref" => {
            let path = rule.as_str().and_then(|path| path.strip_prefix('#'));
            let target = path.and_then(|path| root.pointer(path));
            return check(root, target.ok_or(format!("{at}: no {rule}"))?, value, at);
        }
        "type" => one_or_many(rule).iter().any(|name| has_type(value, name)),
        "const" => value == rule,
        "enum" => one_or_many(rule).contains(value),
        "minimum" => value
            .as_f64()
            .is_none_or(|number| Some(number) >= rule.as_f64()),
        "required" => one_or_many(rule)
            .iter()
            .all(|name| value.get(name.as_str().unwrap_or_default()).is_some()),
        "properties" => return check_fields(root, rule, value, at),
        "additionalProperties" => return check_others(root, schema, rule, value, at),
        "propertyNames" => {
            for name in value.as_object().into_iter().flat_map(|map| map.keys()) {
                check(root, rule, &Value::from(name.as_str()), at)?;
            }
            true
        }
        "items" => {
            let items = value.as_array().into_iter().flatten().enumerate();
            for (index, item) in items {
                check(root, rule, item, &format!("{at}[{index}]"))?;
            }
            true
        }
        "oneOf" | "anyOf" => {
            let all = one_or_many(rule);
            let fitting = all.iter().filter(|one| check(root, one, value, at).is_ok());
            let count = fitting.count();
            if key == "oneOf" {
                count == 1
            } else {
                count > 0
            }
        }
        other => return Err(format!("{at}: '{other}' is not known to this check")),
    };
    match is_kept {
        true => Ok(()),
        false => Err(format!("{at}: {value} breaks {key}: {rule}")),
    }
}

fn check_fields(root: &Value, fields: &Value, value: &Value, at: &str) -> Result<(), String> {
    for (name, schema) in fields.as_object().into_iter().flatten() {
        if let Some(inner) = value.get(name) {
            check(root, schema, inner, &format!("{at}.{name}"))?;
        }
    }
    Ok(())
}

fn check_others(
    root: &Value,
    schema: &Value,
    rule: &Value,
    value: &Value,
    at: &str,
) -> Result<(), String> {
    for (name, inner) in value.as_object().into_iter().flatten() {
        let is_named = schema
            .get("properties")
            .is_some_and(|fields| fields.get(name).is_some());
        match rule {
            _ if is_named => {}
            Value::Bool(false) => return Err(format!("{at}: '{name}' is not in the schema")),
            Value::Bool(true) => {}
            rule => check(root, rule, inner, &format!("{at}.{name}"))?,
        }
    }
    Ok(())
}

fn one_or_many(rule: &Value) -> Vec<Value> {
    match rule {
        Value::Array(many) => many.clone(),
        one => vec![one.clone()],
    }
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(schema: &Value, value: &Value) -> bool {
        check(schema, schema, value, "$").is_ok()
    }

    #[test]
    fn an_answer_with_another_field_or_without_one_does_not_hold() {
        let schema = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {"a": {"$ref": "#/$defs/a"}, "b": {"items": {"type": "integer"}}},
            "$defs": {"a": {"type": ["string", "null"]}},
        });
        assert!(holds(&schema, &json!({"a": null, "b": [1, 2]})));
        assert!(!holds(&schema, &json!({"a": "x", "c": 1})));
        assert!(!holds(&schema, &json!({"b": []})));
        assert!(!holds(&schema, &json!({"a": 1})));
        assert!(!holds(&schema, &json!({"a": "x", "b": ["y"]})));
    }

    #[test]
    fn a_rule_that_is_not_known_never_holds() {
        assert!(!holds(&json!({"pattern": "x"}), &json!("x")));
    }
}
