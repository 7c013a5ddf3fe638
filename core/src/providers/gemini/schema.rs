//! JSON schemas in the subset that Gemini's `parameters` and `responseSchema` take.

use serde_json::{Map, Value, json};

/// What of a schema's fields is kept as it is.
const KEPT: [&str; 17] = [
    "title",
    "description",
    "nullable",
    "items",
    "minItems",
    "maxItems",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "example",
    "propertyOrdering",
    "default",
];

/// `schema` in that subset: references inlined, `const` an `enum`, a null among the types `nullable`. `None` where the subset cannot say
/// what the schema says (recursion, open maps, enums of numbers …); then the schema itself is to be sent in the field that takes it.
pub(super) fn subset(schema: &Value) -> Option<Value> {
    Converter { root: schema, open: Vec::new() }.convert(schema)
}

struct Converter<'a> {
    root: &'a Value,
    /// The references that are being inlined.
    open: Vec<&'a str>,
}

impl<'a> Converter<'a> {
    fn convert(&mut self, schema: &'a Value) -> Option<Value> {
        let fields = schema.as_object()?;
        if let Some(reference) = fields.get("$ref") {
            let reference = reference.as_str()?;
            if self.open.contains(&reference) {
                return None;
            }
            self.open.push(reference);
            let target = self.root.pointer(reference.strip_prefix('#')?)?;
            let mut inlined = self.convert(target)?;
            self.open.pop();
            for name in ["title", "description", "default"] {
                if let Some(own) = fields.get(name) {
                    inlined[name] = own.clone();
                }
            }
            return Some(inlined);
        }
        let mut out = Map::new();
        for (name, value) in fields {
            match name.as_str() {
                "items" => drop(out.insert("items".to_owned(), self.convert(value)?)),
                name if KEPT.contains(&name) => drop(out.insert(name.to_owned(), value.clone())),
                "type" => kind(value, &mut out)?,
                "format" => format(fields, value, &mut out),
                "const" => drop(out.insert("enum".to_owned(), json!([value.as_str()?]))),
                "enum" => enumeration(value, &mut out)?,
                "properties" => {
                    let mut properties = Map::new();
                    for (name, property) in value.as_object()? {
                        properties.insert(name.clone(), self.convert(property)?);
                    }
                    out.insert("properties".to_owned(), Value::Object(properties));
                }
                "anyOf" | "oneOf" => self.alternatives(value.as_array()?, &mut out)?,
                "allOf" => match value.as_array()?.as_slice() {
                    [only] => out.extend(self.convert(only)?.as_object()?.clone()),
                    _ => return None,
                },
                "additionalProperties" if *value != Value::Bool(false) && *value != Value::Bool(true) => return None,
                "prefixItems" | "patternProperties" | "not" | "if" | "dependentSchemas" => return None,
                _ => {}
            }
        }
        if out.contains_key("enum") && !out.contains_key("type") {
            out.insert("type".to_owned(), "string".into());
        }
        let is = |kind: &str| out.get("type").is_some_and(|own| *own == kind);
        let says_little = is("array") && !out.contains_key("items")
            || is("object") && out.get("properties").and_then(Value::as_object).is_none_or(Map::is_empty)
            || !out.contains_key("type") && !out.contains_key("anyOf");
        (!says_little).then_some(Value::Object(out))
    }

    fn alternatives(&mut self, list: &'a [Value], out: &mut Map<String, Value>) -> Option<()> {
        let is_null = |schema: &Value| schema.get("type").is_some_and(|kind| kind == "null");
        if list.iter().any(is_null) {
            out.insert("nullable".to_owned(), true.into());
        }
        let converted: Option<Vec<Value>> =
            list.iter().filter(|schema| !is_null(schema)).map(|schema| self.convert(schema)).collect();
        let mut converted = converted?;
        if converted.len() == 1 {
            if let Some(Value::Object(only)) = converted.pop() {
                for (name, value) in only {
                    out.entry(name).or_insert(value);
                }
            }
            return Some(());
        }
        out.insert("anyOf".to_owned(), Value::Array(converted));
        Some(())
    }
}

fn kind(value: &Value, out: &mut Map<String, Value>) -> Option<()> {
    let Some(kinds) = value.as_array() else {
        out.insert("type".to_owned(), value.clone());
        return Some(());
    };
    if kinds.iter().any(|kind| kind == "null") {
        out.insert("nullable".to_owned(), true.into());
    }
    let mut kinds = kinds.iter().filter(|kind| *kind != "null");
    // Several types beside each other would need their own fields each.
    let (only, None) = (kinds.next()?, kinds.next()) else { return None };
    out.insert("type".to_owned(), only.clone());
    Some(())
}

/// The formats that Gemini knows; others are hints that it refuses.
fn format(fields: &Map<String, Value>, value: &Value, out: &mut Map<String, Value>) {
    let known: &[&str] = match fields.get("type").and_then(Value::as_str) {
        Some("string") => &["enum", "date-time"],
        Some("integer") => &["int32", "int64"],
        Some("number") => &["float", "double"],
        _ => &[],
    };
    if value.as_str().is_some_and(|format| known.contains(&format)) {
        out.insert("format".to_owned(), value.clone());
    }
}

/// An enum of strings, perhaps with a null.
fn enumeration(value: &Value, out: &mut Map<String, Value>) -> Option<()> {
    let values = value.as_array()?;
    if values.iter().any(Value::is_null) {
        out.insert("nullable".to_owned(), true.into());
    }
    let strings: Vec<Value> = values.iter().filter(|value| !value.is_null()).cloned().collect();
    strings.iter().all(Value::is_string).then(|| drop(out.insert("enum".to_owned(), Value::Array(strings))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_inlined_and_nulls_become_nullable() {
        let schema = json!({
            "$schema": "x", "type": "object", "additionalProperties": false,
            "$defs": { "Unit": { "enum": ["c", "f"], "description": "of it" } },
            "properties": {
                "unit": { "$ref": "#/$defs/Unit", "description": "own" },
                "city": { "type": ["string", "null"], "format": "hostname" },
                "kind": { "const": "weather" },
                "note": { "anyOf": [{ "type": "string", "minLength": 2 }, { "type": "null" }] },
                "list": { "type": "array", "items": { "type": "integer", "format": "int32" } },
            },
            "required": ["unit"],
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "unit": { "enum": ["c", "f"], "description": "own", "type": "string" },
                "city": { "nullable": true, "type": "string" },
                "kind": { "enum": ["weather"], "type": "string" },
                "note": { "nullable": true, "type": "string", "minLength": 2 },
                "list": { "type": "array", "items": { "type": "integer", "format": "int32" } },
            },
            "required": ["unit"],
        });
        assert_eq!(subset(&schema), Some(expected));
    }

    #[test]
    fn what_the_subset_cannot_say_is_left_to_the_whole_schema() {
        let tree = json!({ "$ref": "#/$defs/Node", "$defs": { "Node": {
            "type": "object", "properties": { "next": { "$ref": "#/$defs/Node" } } } } });
        assert_eq!(subset(&tree), None);
        for schema in [
            json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            json!({ "enum": [1, 2] }),
            json!({ "type": ["string", "integer"] }),
            json!({ "type": "array" }),
        ] {
            assert_eq!(subset(&schema), None, "{schema}");
        }
    }
}
