//! `holdfast operator issue`: a context for somebody, with the key that they have or a new one.
//!
//! The place of the context is had before anything is agreed, and nothing that lies anywhere is
//! overwritten. Whoever did not hear the answer types it again: the same key gets the same answer.

use super::fields;
use crate::{
    client::{Admin, Client},
    demand::Demand,
};
use holdfast_common::{Code, Error, Name, Result, SystemEntropy};
use holdfast_runtime::{
    Context, Identity, PeerCertificate,
    context::Certificates,
    files::{self, Reserved},
    pki::{IdentityKey, OperatorRequest, certificates_pem, key_pem},
};
use holdfast_wire::v1;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What is asked for.
pub(super) struct Order {
    pub(super) name: Name,
    /// 0: as long as may be.
    pub(super) days: u32,
}

/// For the key that a request proves, which is elsewhere.
pub(super) async fn sign(
    order: Order,
    request: &Path,
    to: &Path,
    demand: &Demand<'_>,
) -> Result<()> {
    let request = OperatorRequest::parse(&files::read_text(request)?)?;
    if request.name != order.name {
        let message = format!("the request is for `{}`, not for `{}`", request.name, order.name);
        return Err(Error::new(Code::UsageMalformed, message)
            .next(format!("holdfast operator issue {} --request …", request.name)));
    }
    let place = Reserved::for_new(to)?;
    let client = demand.client().await?;
    let public = *request.key()?.as_bytes();
    let issued = ask(&client, &order, (request.der(), &public)).await?;
    let home = to.parent().unwrap_or(Path::new(""));
    let context = context(&client, &issued, home.join(&request.key_file));
    place.place(context.render(to)?.as_bytes())?;
    told(&issued, to, None, demand)
}

/// With a key that is made here.
pub(super) async fn make(order: Order, dir: &Path, demand: &Demand<'_>) -> Result<()> {
    let client = demand.client().await?;
    let home = Home::make(dir)?;
    let ended = home.fill(&client, &order).await;
    match ended {
        Ok(issued) => told(&issued, &home.context, Some(&home.key), demand),
        Err(error) if error.is_retryable() => Err(Error { next: None, ..error }
            .next(format!("type it again: it goes on with the key in {}", home.key.display()))),
        Err(error) => {
            home.undo();
            Err(error)
        }
    }
}

/// A directory with a key, which may have been there, and what of it was made here.
struct Home {
    dir: PathBuf,
    key: PathBuf,
    context: PathBuf,
    made_dir: bool,
    made_key: bool,
}

impl Home {
    fn make(dir: &Path) -> Result<Self> {
        let mut home = Self {
            dir: dir.to_owned(),
            key: dir.join("operator.key"),
            context: dir.join("operator.toml"),
            made_dir: !dir.exists(),
            made_key: false,
        };
        files::create_private_dir(dir)?;
        // An operator is there already: his key must not be taken for another's.
        if let Err(error) = Reserved::for_new(&home.context) {
            home.undo();
            return Err(error);
        }
        if !home.key.exists() {
            let (_, pkcs8) = IdentityKey::generate(&SystemEntropy)?;
            if let Err(error) = files::write_new_private(&home.key, key_pem(&pkcs8).as_bytes()) {
                home.undo();
                return Err(error);
            }
            home.made_key = true;
        }
        Ok(home)
    }

    async fn fill(&self, client: &Client, order: &Order) -> Result<v1::IssueOperatorResponse> {
        let key = IdentityKey::from_pem(&files::read_text(&self.key)?)?;
        let place = Reserved::for_new(&self.context)?;
        let issued = ask(client, order, (&key.request()?, &key.public())).await?;
        let context = context(client, &issued, self.key.clone());
        place.place(context.render(&self.context)?.as_bytes())?;
        Ok(issued)
    }

    /// Takes away what was made, and nothing else.
    fn undo(&self) {
        if self.made_key {
            drop(std::fs::remove_file(&self.key));
        }
        if self.made_dir {
            // Only when nothing else came to lie there.
            drop(std::fs::remove_dir(&self.dir));
        }
    }
}

async fn ask(
    client: &Client,
    order: &Order,
    (request, public): (&[u8], &[u8; 32]),
) -> Result<v1::IssueOperatorResponse> {
    let question = v1::IssueOperatorRequest {
        name: order.name.to_string(),
        role: "admin".to_owned(),
        days: order.days,
        csr_der: request.to_vec().into(),
    };
    let ask = async |mut admin: Admin, question| admin.issue_operator(question).await;
    let issued = client.ask(question, ask).await?;
    check(&issued.certificate_der, order.name.as_str(), public)?;
    Ok(issued)
}

/// What came back is for that name and that key: anything else would be found out only later.
pub(super) fn check(certificate: &[u8], name: &str, public: &[u8; 32]) -> Result<()> {
    let peer = PeerCertificate::parse(certificate)?;
    let expected = Identity::operator(peer.identity.cluster, name.parse()?);
    if peer.identity == expected && peer.public_key == *public {
        return Ok(());
    }
    let message = format!("the certificate that came back is of {}", peer.identity);
    Err(Error::new(Code::CertificateRefused, message))
}

fn context(client: &Client, issued: &v1::IssueOperatorResponse, key: PathBuf) -> Context {
    let here = |der: &[u8]| Certificates::Here(certificates_pem([der]));
    Context {
        endpoints: match issued.endpoints.is_empty() {
            true => client.context().endpoints.clone(),
            false => issued.endpoints.clone(),
        },
        ca: here(&issued.ca_der),
        cert: here(&issued.certificate_der),
        key,
        ..client.context().clone()
    }
}

fn told(
    issued: &v1::IssueOperatorResponse,
    context: &Path,
    key: Option<&Path>,
    demand: &Demand<'_>,
) -> Result<()> {
    let operator = issued.operator.clone().unwrap_or_default();
    demand.output.answer(
        || json!({ "operator": fields(&operator), "context": context, "key": key }),
        || match key {
            Some(_) => format!("export HOLDFAST_CONTEXT={}", context.display()),
            None => format!(
                "{}\nIt holds no secret. {} puts it beside the key.",
                context.display(),
                operator.name
            ),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_taken_away_and_what_was_there_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("ben");
        Home::make(&new).unwrap().undo();
        assert!(!new.exists());

        std::fs::create_dir(&new).unwrap();
        std::fs::write(new.join("note"), b"ben's").unwrap();
        Home::make(&new).unwrap().undo();
        assert_eq!(std::fs::read_dir(&new).unwrap().count(), 1);

        let first = Home::make(&new).unwrap();
        let pem = std::fs::read(&first.key).unwrap();
        let again = Home::make(&new).unwrap();
        again.undo();
        assert_eq!(std::fs::read(&first.key).unwrap(), pem, "it goes on with what is there");

        std::fs::write(&first.context, b"ada's").unwrap();
        let error = Home::make(&new).map(|_| ()).unwrap_err();
        assert_eq!(error.code, Code::FileExists);
        assert_eq!(std::fs::read(&first.key).unwrap(), pem);
    }
}
