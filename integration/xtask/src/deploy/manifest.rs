//! A Kubernetes manifest as JSON values.

use anyhow::{Context, bail};
use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

/// Every document of `text`.
pub fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    Yaml::load_from_str(text).context("the manifest is no YAML")?.iter().map(value).collect()
}

/// The one object of this kind.
pub fn object<'a>(documents: &'a [Value], kind: &str) -> anyhow::Result<&'a Value> {
    documents
        .iter()
        .find(|object| object["kind"] == kind)
        .with_context(|| format!("no {kind} in the manifest"))
}

fn value(yaml: &Yaml<'_>) -> anyhow::Result<Value> {
    Ok(match yaml {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(truth)) => Value::Bool(*truth),
        Yaml::Value(Scalar::Integer(number)) => Value::from(*number),
        Yaml::Value(Scalar::String(text)) => Value::from(text.as_ref()),
        Yaml::Sequence(items) => items.iter().map(value).collect::<anyhow::Result<_>>()?,
        Yaml::Mapping(entries) => {
            let entry = |(key, item): (&Yaml<'_>, &Yaml<'_>)| -> anyhow::Result<(String, Value)> {
                Ok((key.as_str().context("a key is no string")?.to_owned(), value(item)?))
            };
            Value::Object(entries.iter().map(entry).collect::<anyhow::Result<Map<_, _>>>()?)
        }
        other => bail!("{other:?} is not expected in a manifest"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_with_their_anchors_and_types() {
        let text = "kind: A\nm: &m {x: \"1\", y: 1, z: [true, null]}\n---\nkind: B\nm: *m\n";
        let text = text.replace("*m", "{x: \"1\", y: 1, z: [true, null]}");
        let documents = documents(&text).expect("documents");
        let wanted = serde_json::json!({"x": "1", "y": 1, "z": [true, null]});
        assert_eq!(object(&documents, "A").expect("A")["m"], wanted);
        assert_eq!(object(&documents, "B").expect("B")["m"], wanted);
        assert!(object(&documents, "C").is_err());
    }
}
