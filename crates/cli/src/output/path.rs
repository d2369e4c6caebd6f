//! Paths of a point are bytes. People see them with control characters escaped, so that a name
//! cannot move the cursor; programs get the text, and the exact bytes in base64 where the text is
//! not the whole truth.

use base64::{Engine, engine::general_purpose::STANDARD};
use holdfast_common::Code;
use serde_json::{Map, Value};

/// `{"path": …}`, with `path_base64` when the name is not UTF-8.
pub fn json(bytes: &[u8]) -> Map<String, Value> {
    json_named("path", bytes)
}

/// The same for a path that is called otherwise.
pub fn json_named(name: &str, bytes: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert(name.into(), String::from_utf8_lossy(bytes).into());
    if core::str::from_utf8(bytes).is_err() {
        fields.insert(format!("{name}_base64"), STANDARD.encode(bytes).into());
    }
    fields
}

/// `{"paths": […]}`, with `paths_base64`, each of them in the same order, when one is not UTF-8.
pub fn json_list<'a>(paths: impl Iterator<Item = &'a [u8]> + Clone) -> Map<String, Value> {
    let mut fields = Map::new();
    if paths.clone().any(|path| core::str::from_utf8(path).is_err()) {
        let exact = paths.clone().map(|path| STANDARD.encode(path));
        fields.insert("paths_base64".into(), exact.collect());
    }
    fields.insert("paths".into(), paths.map(String::from_utf8_lossy).collect());
    fields
}

/// `{"path": …, "code": …}` of something that was left out.
pub fn skipped((bytes, code): &(Vec<u8>, Code)) -> Value {
    let mut fields = json(bytes);
    fields.insert("code".into(), code.name().into());
    Value::Object(fields)
}

pub fn text(bytes: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(bytes);
    if lossy.chars().any(char::is_control) {
        lossy.chars().flat_map(|c| c.escape_debug()).collect()
    } else {
        lossy.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_utf8_is_given_exactly_too() {
        let fields = json(b"/a/\xff");
        assert_eq!(fields["path"], "/a/\u{fffd}");
        assert_eq!(fields["path_base64"], "L2Ev/w==");
        assert!(!json("/ä".as_bytes()).contains_key("path_base64"));
    }

    #[test]
    fn of_several_names_all_are_given_exactly_when_one_is_not_utf8() {
        let fields = json_list([&b"/a"[..], b"/a/\xff"].into_iter());
        assert_eq!(fields["paths"], serde_json::json!(["/a", "/a/\u{fffd}"]));
        assert_eq!(fields["paths_base64"], serde_json::json!(["L2E=", "L2Ev/w=="]));
        let plain = json_list(["/ä".as_bytes()].into_iter());
        assert!(!plain.contains_key("paths_base64"));
        assert_eq!(json_list([].into_iter())["paths"], serde_json::json!([]));
    }

    #[test]
    fn a_name_cannot_write_to_the_terminal() {
        assert_eq!(text(b"/a\x1b[2Jb\n"), "/a\\u{1b}[2Jb\\n");
        assert_eq!(text("/ä b".as_bytes()), "/ä b");
    }
}
