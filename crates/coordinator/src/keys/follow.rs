//! How each member comes to the KEK that the ledger says is in use.
//!
//! The ledger says where it is; the member looks there by itself, takes it, and writes it into its
//! configuration, so that it starts with it next time. One that does not find it goes on with what
//! it has open in memory and says so in `status`: it would not start again.

use super::change::load;
use crate::{house::House, options::Options};
use holdfast_common::{Error, Result};
use holdfast_keyring::{Kek, KekSource};
use holdfast_ledger::{Query, row::KekRow};
use holdfast_wire::v1;
use std::{path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often one that lacks it looks again.
const AGAIN: Duration = Duration::from_secs(5);
/// Commands come in crowds; the KEK changes once in a year.
const PACE: Duration = Duration::from_millis(500);

/// Follows what is applied, for as long as the member runs.
pub(crate) async fn keep(house: Arc<House>, token: CancellationToken) -> Result<()> {
    let mut applied = house.ledger.applied();
    loop {
        let pause = match follow(&house) {
            Ok(()) => None,
            Err(error) => {
                let code = error.code.name();
                tracing::warn!(code, %error, "the new KEK is not here, or not written down");
                Some(AGAIN)
            }
        };
        let next = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => {
                    let _closed_with_the_ledger = applied.changed().await;
                    tokio::time::sleep(PACE).await;
                }
            }
        };
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            () = next => {}
        }
    }
}

/// The KEK in use, where the ledger keeps account of them.
pub(crate) fn in_use(query: &Query<'_>) -> Result<Option<KekRow>> {
    Ok(query.keks()?.into_iter().find(|row| row.until.is_none()))
}

/// Takes the KEK in use, if it is another one than this member has, and writes down where it is.
fn follow(house: &House) -> Result<()> {
    take(house)?;
    write_down(house)
}

/// Whether this member has another KEK than the one in use.
pub(super) fn is_behind(house: &House) -> Result<bool> {
    let own = house.keys()?.custodian.kek().id;
    Ok(in_use(&house.ledger.query())?.is_some_and(|row| row.id != *own.as_bytes()))
}

/// It has to open what others wrap from now on, whatever becomes of the file.
pub(super) fn take(house: &House) -> Result<()> {
    let custodian = &house.keys()?.custodian;
    let query = house.ledger.query();
    let Some(row) = in_use(&query)?.filter(|row| row.id != *custodian.kek().id.as_bytes()) else {
        return Ok(());
    };
    let derivation = query.cluster()?.kek_derivation;
    let (kek, source) = find(&row, derivation.as_ref().map_or(&[], |bytes| &bytes[..]))?;
    tracing::info!(kek = %kek.id, %source, "this member has taken the KEK in use");
    custodian.take(kek, source);
    Ok(())
}

/// So that the next start looks there first.
pub(super) fn write_down(house: &House) -> Result<()> {
    let custodian = &house.keys()?.custodian;
    if custodian.is_written_down() {
        return Ok(());
    }
    name_in(&house.config, &custodian.kek_source().to_string())?;
    custodian.note_written_down();
    Ok(())
}

/// Refuses a file that could not be told of another KEK, before there is one.
pub(super) fn insist_on_writable(file: &Path) -> Result<()> {
    let config = Options::load(file)?;
    config.save(file).map_err(|error| unwritable(file, error))
}

fn name_in(file: &Path, source: &str) -> Result<()> {
    let mut config = Options::load(file)?;
    if config.kek.as_deref() == Some(source) {
        return Ok(());
    }
    config.kek = Some(source.to_owned());
    config.save(file).map_err(|error| unwritable(file, error))
}

fn unwritable(file: &Path, error: Error) -> Error {
    let message = format!("`{}` cannot be written, and has to name the KEK", file.display());
    Error { message, ..error.clone().cause(error) }
        .next("let the coordinator write it, and look at `holdfast status`")
}

/// Where the ledger says that it is.
pub(crate) fn find(row: &KekRow, derivation: &[u8]) -> Result<(Kek, KekSource)> {
    let absent = |why: &str| {
        let id = holdfast_keyring::KekId::from_bytes(row.id);
        Error::new(holdfast_common::Code::KekUnavailable, format!("the KEK {id} is not here"))
            .cause(why)
    };
    let source = row.source.as_deref().ok_or_else(|| absent("nobody said where it is"))?;
    let source: KekSource = source.parse()?;
    let kek = load(&source, derivation)?;
    if kek.id.as_bytes() != &row.id {
        return Err(absent(&format!("`{source}` holds another one")));
    }
    Ok((kek, source))
}

/// What somebody should look at: this member would not start again.
pub(crate) fn alarm(house: &House) -> Option<v1::Alarm> {
    let custodian = &house.keys().ok()?.custodian;
    let row = in_use(&house.ledger.query()).ok()??;
    let source = row.source.unwrap_or_default();
    if row.id == *custodian.kek().id.as_bytes() {
        let file = house.config.display();
        return (!custodian.is_written_down()).then(|| v1::Alarm {
            code: "kek.member_behind".to_owned(),
            subject: format!("{}: {file} does not name the KEK in use", house.name),
            since_ns: Some(row.since.as_nanos()),
            next: format!("let the coordinator write {file}, or name `{source}` there yourself"),
        });
    }
    Some(v1::Alarm {
        code: "kek.member_behind".to_owned(),
        subject: format!("{}: the KEK in use is not here", house.name),
        since_ns: Some(row.since.as_nanos()),
        next: format!("bring `{source}` to this coordinator; without it it does not start again"),
    })
}
