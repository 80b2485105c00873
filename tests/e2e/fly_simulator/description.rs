//! The platform's published description of its API, corrected by the overlay, and stricter about what
//! is sent: the platform ignores fields that it does not know, so a wrong name would never be noticed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

const PUBLISHED: &str = include_str!("openapi3.json");
const OVERLAY: &str = include_str!("overlay.json");

const SCHEMAS: &str = "#/components/schemas/";

/// Returns the corrected description; its paths start with `/v1`, as its clients' do.
pub(crate) fn corrected() -> Value {
    let mut document: Value = serde_json::from_str(PUBLISHED).expect("the description is JSON");
    let overlay: Value = serde_json::from_str(OVERLAY).expect("the overlay is JSON");
    for correction in overlay["corrections"].as_array().expect("a list") {
        assert!(correction["reason"].is_string(), "{correction}");
        if let Some(patch) = correction.get("merge") {
            merge(&mut document, patch);
        }
        if let Some(addition) = correction.get("add_parameters") {
            add_parameters(&mut document, addition);
        }
    }
    refuse_unknown_fields(&mut document);
    prefix_paths(&mut document);
    document
}

/// Applies a merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let target = target.as_object_mut().expect("it was made one");
    for (name, change) in patch {
        if change.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}

fn add_parameters(document: &mut Value, addition: &Value) {
    for operation in addition["to"].as_array().expect("a list") {
        let (method, path) = operation
            .as_str()
            .and_then(|text| text.split_once(' '))
            .expect("a method and a path");
        let operation = &mut document["paths"][path][method];
        assert!(operation.is_object(), "{method} {path} is not described");
        let parameters = &mut operation["parameters"];
        if parameters.is_null() {
            *parameters = Value::Array(Vec::new());
        }
        let parameters = parameters.as_array_mut().expect("a list");
        parameters.extend(addition["parameters"].as_array().expect("a list").clone());
    }
}

/// Lets every object that a request can hold have no other fields than those described.
fn refuse_unknown_fields(document: &mut Value) {
    let mut ahead = Vec::new();
    for operations in document["paths"].as_object().expect("paths").values() {
        for operation in operations.as_object().expect("operations").values() {
            collect_references(&operation["requestBody"], &mut ahead);
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = ahead.pop() {
        if seen.insert(name.clone()) {
            collect_references(&document["components"]["schemas"][&name], &mut ahead);
        }
    }
    for name in seen {
        let schema = &mut document["components"]["schemas"][&name];
        if schema["properties"].is_object() && schema["additionalProperties"].is_null() {
            schema["additionalProperties"] = false.into();
        }
    }
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let reference = fields.get("$ref").and_then(Value::as_str);
            found.extend(
                reference
                    .and_then(|text| text.strip_prefix(SCHEMAS))
                    .map(str::to_owned),
            );
            for field in fields.values() {
                collect_references(field, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                collect_references(item, found);
            }
        }
        _ => {}
    }
}

fn prefix_paths(document: &mut Value) {
    let paths = document["paths"].as_object().expect("paths");
    let prefixed: Map<String, Value> = paths
        .iter()
        .map(|(path, operations)| (format!("/v1{path}"), operations.clone()))
        .collect();
    document["paths"] = prefixed.into();
    document["servers"] = serde_json::json!([{"url": "https://api.machines.dev"}]);
}

#[test]
fn a_merge_patch_changes_adds_and_removes() {
    let mut target = serde_json::json!({"a": {"b": 1, "c": [1, 2]}, "d": 4});
    let patch = serde_json::json!({"a": {"b": null, "c": [3], "n": {"x": true}}, "d": {"y": 1}});
    merge(&mut target, &patch);
    let expected = serde_json::json!({"a": {"c": [3], "n": {"x": true}}, "d": {"y": 1}});
    assert_eq!(target, expected);
}

#[test]
fn the_description_is_the_published_one() {
    assert_eq!(
        onsave_protocol::Sha256Digest::of(PUBLISHED.as_bytes()).to_hex(),
        "45efe4aaecb2f7c0185831792cd7335528990a304bbbb7eb7e6f91725c53daeb"
    );
}

#[test]
fn the_corrected_description_is_corrected_and_strict() {
    let document = corrected();
    let update = &document["paths"]["/v1/apps/{app_name}/machines/{machine_id}"]["post"];
    assert_eq!(update["parameters"][2]["name"], "fly-machine-lease-nonce");
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["fly.HTTPOptions"]["additionalProperties"], false);
    assert_eq!(
        schemas["main.regionResponse"]["properties"]["regions"],
        Value::Null
    );
    assert_eq!(
        schemas["Volume"]["additionalProperties"],
        Value::Null,
        "answers may grow"
    );
}
