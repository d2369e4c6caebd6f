//! `holdfast operator request`: a key that never leaves this host, and what another operator signs.

use crate::demand::Demand;
use holdfast_common::{Code, Error, Name, Result, SystemEntropy};
use holdfast_runtime::{
    files,
    pki::{IdentityKey, OperatorRequest, key_pem},
};
use serde_json::json;
use std::path::{Path, PathBuf};

pub(super) fn request(name: Name, out: &Path, demand: &Demand<'_>) -> Result<()> {
    let (key, request) = places(&name, out)?;
    make(name.clone(), &key, &request)?;
    demand.output.answer(
        || json!({ "name": name.as_str(), "key": key, "request": request }),
        || {
            let request = request.display();
            format!(
                "{}\n{request}\nThe key stays here. Another operator types:\n  holdfast operator \
                 issue {name} --request {request} --to {name}.toml\nand what comes of it is put \
                 beside the key.",
                key.display()
            )
        },
    )
}

/// Where the key and the request go.
fn places(name: &Name, out: &Path) -> Result<(PathBuf, PathBuf)> {
    if out.is_dir() {
        return Ok((out.join(format!("{name}.key")), out.join(format!("{name}.request"))));
    }
    let key = out.with_extension("key");
    if key == out {
        let message = format!("{} is where the key would lie", out.display());
        return Err(Error::new(Code::UsageMalformed, message)
            .next(format!("name the request otherwise: --out {name}.request")));
    }
    Ok((key, out.to_owned()))
}

/// Both, or neither.
fn make(name: Name, key_at: &Path, request_at: &Path) -> Result<()> {
    let (key, pkcs8) = IdentityKey::generate(&SystemEntropy)?;
    let key_file = key_at.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Error::new(Code::UsageMalformed, format!("{} is no UTF-8", key_at.display()))
    })?;
    let text = OperatorRequest::new(name, key_file, &key)?.render()?;
    let place = files::Reserved::for_new(request_at)?;
    files::write_new_private(key_at, key_pem(&pkcs8).as_bytes())?;
    place.place(text.as_bytes()).inspect_err(|_| {
        // It was made a moment ago, and nobody has seen it.
        drop(std::fs::remove_file(key_at));
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn ben() -> Name {
        "ben".parse().unwrap()
    }

    #[test]
    fn a_key_and_a_request_are_made_for_their_owner_alone_and_never_over_others() {
        let dir = tempfile::tempdir().unwrap();
        let (key, request) = places(&ben(), dir.path()).unwrap();
        assert_eq!(
            (&key, &request),
            (&dir.path().join("ben.key"), &dir.path().join("ben.request"))
        );
        make(ben(), &key, &request).unwrap();
        for file in [&key, &request] {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let text = std::fs::read_to_string(&request).unwrap();
        assert!(!text.contains("PRIVATE"));
        let read = OperatorRequest::parse(&text).unwrap();
        let pem = std::fs::read_to_string(&key).unwrap();
        let mine = IdentityKey::from_pem(&pem).unwrap().public();
        assert_eq!((read.key_file.as_str(), read.key().unwrap().as_bytes()), ("ben.key", &mine));
        assert_eq!(make(ben(), &key, &request).unwrap_err().code, Code::FileExists);
        let elsewhere = dir.path().join("other.request");
        assert_eq!(make(ben(), &key, &elsewhere).unwrap_err().code, Code::FileExists);
        assert!(!elsewhere.exists());
        let unkept = dir.path().join("other.key");
        assert_eq!(make(ben(), &unkept, &request).unwrap_err().code, Code::FileExists);
        assert!(!unkept.exists(), "a key without a request is of no use");
        assert_eq!(std::fs::read_to_string(&key).unwrap(), pem);
    }

    #[test]
    fn a_file_is_the_requests_and_the_key_lies_beside_it() {
        let (key, request) = places(&ben(), Path::new("/none/of-ben.req")).unwrap();
        assert_eq!((key, request), ("/none/of-ben.key".into(), "/none/of-ben.req".into()));
        let error = places(&ben(), Path::new("/none/ben.key")).unwrap_err();
        assert_eq!(error.code, Code::UsageMalformed);
    }
}
