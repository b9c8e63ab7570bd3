//! The answer to `GET /v1/models`.

use bytes::Bytes;
use serde::Serialize;

use super::error::to_json;

/// One model that a caller may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name to send in `model`.
    pub id: String,
    /// When it became available, in seconds since the Unix epoch.
    pub created_s: u64,
    /// Who answers for it.
    pub owned_by: String,
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

/// Returns the body that lists `models` in the given order.
pub fn list(models: &[Model]) -> Bytes {
    to_json(&List { object: "list", data: models.iter().map(entry).collect() })
}

/// Returns the body that describes one model, the answer to `GET /v1/models/{id}`.
pub fn one(model: &Model) -> Bytes {
    to_json(&entry(model))
}

fn entry(model: &Model) -> Entry<'_> {
    Entry { id: &model.id, object: "model", created: model.created_s, owned_by: &model.owned_by }
}

#[cfg(test)]
mod tests {
    use super::{Model, list};

    #[test]
    fn the_list_has_the_shape_that_clients_page_through() {
        let models = [Model { id: "demo".into(), created_s: 1_700_000_000, owned_by: "portcullis".into() }];
        insta::assert_snapshot!(
            String::from_utf8(list(&models).to_vec()).unwrap(),
            @r#"{"object":"list","data":[{"id":"demo","object":"model","created":1700000000,"owned_by":"portcullis"}]}"#
        );
    }

    #[test]
    fn no_models_is_an_empty_list_and_not_null() {
        assert_eq!(&list(&[])[..], br#"{"object":"list","data":[]}"#);
    }
}
