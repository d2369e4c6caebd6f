//! How each member comes to the KEK that the ledger says is in use.
//!
//! The ledger says where it is; the member looks there by itself, takes it, and writes it into its
//! configuration, so that it starts with it next time. One that does not find it goes on with what
//! it has open in memory and says so in `status`: it would not start again.

use super::kek;
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
        let followed = tokio::select! {
            () = token.cancelled() => return Ok(()),
            followed = follow(&house) => followed,
        };
        let pause = match followed {
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
async fn follow(house: &House) -> Result<()> {
    take(house).await?;
    write_down(house).await
}

/// It has to open what others wrap from now on, whatever becomes of the file.
pub(super) async fn take(house: &House) -> Result<()> {
    bring(house, None).await
}

/// The same by whoever may have it at hand.
pub(super) async fn bring(house: &House, at_hand: Option<(Kek, KekSource)>) -> Result<()> {
    let custodian = &house.keys()?.custodian;
    if behind(house)?.is_none() {
        return Ok(());
    }
    // Its provider may take its time, and another change may come meanwhile.
    let _one_at_a_time = custodian.bringing.lock().await;
    let Some(row) = behind(house)? else { return Ok(()) };
    let (kek, source) = match at_hand {
        Some((kek, source)) if *kek.id.as_bytes() == row.id => (kek, source),
        _ => find(house, &row).await?,
    };
    tracing::info!(kek = %kek.id, %source, "this member has taken the KEK in use");
    custodian.take(kek, source);
    Ok(())
}

/// The KEK in use, where this member has another one.
pub(super) fn behind(house: &House) -> Result<Option<KekRow>> {
    let own = house.keys()?.custodian.kek().id;
    Ok(in_use(&house.ledger.query())?.filter(|row| row.id != *own.as_bytes()))
}

/// So that the next start looks there first.
pub(super) async fn write_down(house: &House) -> Result<()> {
    let custodian = &house.keys()?.custodian;
    // Nobody takes another one meanwhile.
    let _one_at_a_time = custodian.bringing.lock().await;
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
async fn find(house: &House, row: &KekRow) -> Result<(Kek, KekSource)> {
    let absent = |why: &str| {
        let id = holdfast_keyring::KekId::from_bytes(row.id);
        Error::new(holdfast_common::Code::KekUnavailable, format!("the KEK {id} is not here"))
            .cause(why)
    };
    let source = row.source.as_deref().ok_or_else(|| absent("nobody said where it is"))?;
    let source: KekSource = source.parse()?;
    kek::insist_on_listed(&house.config, &source)?;
    let kek = kek::load(&source, &house.ledger.query().cluster()?).await?;
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
