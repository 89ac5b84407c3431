//! The schema as the server tells it.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::Client;

/// All types by name.
pub(crate) struct Introspection {
    pub(crate) types: HashMap<String, Value>,
    roots: Value,
}

impl Introspection {
    pub(crate) async fn read(client: &Client) -> Self {
        const DEPTH: usize = 6;
        let of =
            (0..DEPTH).fold(String::from("kind name"), |inner, _| format!("kind name ofType {{ {inner} }}"));
        let document = format!(
            "{{ __schema {{
                queryType {{ name }} mutationType {{ name }} subscriptionType {{ name }}
                types {{
                    kind name description possibleTypes {{ name }}
                    fields {{ name description type {{ {of} }} args {{ name description defaultValue type {{ {of} }} }} }}
                    inputFields {{ name description defaultValue type {{ {of} }} }}
                    enumValues {{ name description }}
                }}
            }} }}"
        );
        let mut data = client.query(&document, json!({})).await.ok();
        let types = data["__schema"]["types"].take();
        let types = types.as_array().unwrap().iter();
        let types = types.map(|one| (one["name"].as_str().unwrap().to_owned(), one.clone())).collect();
        Self { types, roots: data["__schema"].take() }
    }

    /// The fields of `query`, `mutation` or `subscription`.
    pub(crate) fn root(&self, operation: &str) -> Vec<Value> {
        let name = self.roots[format!("{operation}Type")]["name"].as_str().unwrap();
        list(&self.types[name]["fields"])
    }
}

/// The entries of a list that may be null.
pub(crate) fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// The name of the type inside of lists and non-null marks.
pub(crate) fn inner_name(ty: &Value) -> String {
    match ty["name"].as_str() {
        Some(name) => name.to_owned(),
        None => inner_name(&ty["ofType"]),
    }
}

/// The type as the language writes it.
pub(crate) fn type_text(ty: &Value) -> String {
    match ty["kind"].as_str() {
        Some("NON_NULL") => format!("{}!", type_text(&ty["ofType"])),
        Some("LIST") => format!("[{}]", type_text(&ty["ofType"])),
        _ => ty["name"].as_str().unwrap().to_owned(),
    }
}
