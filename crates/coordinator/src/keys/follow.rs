//! How each member comes to the KEK that the ledger says is in use.
//!
//! The ledger says where it is; the member looks there by itself, takes it, and writes it into its
//! configuration, so that it starts with it next time. One that does not find it goes on with what
//! it has open in memory and says so in `status`: it would not start again. A provider that refuses
//! is asked less and less often; where the KEK is not there yet it is looked for every few seconds.

use super::kek;
use crate::{house::House, options::Options};
use holdfast_common::{Code, Error, Result, limits};
use holdfast_keyring::{Kek, KekSource};
use holdfast_ledger::{Query, row::KekRow};
use holdfast_wire::v1;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often one that lacks it looks again.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest pause, of whoever is refused again and again.
const AGAIN_MAX: Duration = Duration::from_secs(limits::KEK_LOOK_SECS);
/// Commands come in crowds; the KEK changes once in a year.
const PACE: Duration = Duration::from_millis(500);

/// Follows what is applied, for as long as the member runs.
pub(crate) async fn keep(house: Arc<House>, token: CancellationToken) -> Result<()> {
    let mut applied = house.ledger.applied();
    let mut pause = None;
    loop {
        let lacked = lacked(&house);
        let followed = tokio::select! {
            () = token.cancelled() => return Ok(()),
            followed = follow(&house) => followed,
        };
        pause = match followed {
            Ok(()) => None,
            Err(error) => {
                let code = error.code.name();
                tracing::warn!(code, %error, "the new KEK is not here, or not written down");
                let pause = next_pause(pause, &error);
                if let Some(kek) = lacked.filter(|_| is_refusal(&error)) {
                    house.keys()?.custodian.note_refused(kek, pause, error);
                }
                Some(pause)
            }
        };
        tokio::select! {
            () = token.cancelled() => return Ok(()),
            () = rest(&house, &mut applied, (pause, lacked)) => {}
        }
    }
}

/// Until something is applied; where there is a pause until that is over, or yet another KEK is in
/// use, which may be one that nobody refuses.
async fn rest(
    house: &House,
    applied: &mut watch::Receiver<u64>,
    (pause, before): (Option<Duration>, Option<[u8; 16]>),
) {
    let news = async {
        loop {
            let _closed_with_the_ledger = applied.changed().await;
            tokio::time::sleep(PACE).await;
            if pause.is_none() || lacked(house) != before {
                return;
            }
        }
    };
    match pause {
        None => news.await,
        Some(pause) => drop(tokio::time::timeout(pause, news).await),
    }
}

/// Whoever refuses will do so again, and every question may count against somebody.
fn next_pause(before: Option<Duration>, error: &Error) -> Duration {
    match before {
        Some(pause) if is_refusal(error) => AGAIN_MAX.min(pause * 2),
        _ => AGAIN,
    }
}

fn is_refusal(error: &Error) -> bool {
    matches!(error.code, Code::KekDenied | Code::KekGone | Code::KeyWrong)
}

/// Which KEK this member has not.
fn lacked(house: &House) -> Option<[u8; 16]> {
    behind(house).ok().flatten().map(|row| row.id)
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
        Error::new(Code::KekUnavailable, format!("the KEK {id} is not here")).cause(why)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refuses_is_asked_less_and_less_often_and_who_is_away_is_not() {
        let after = |code, pause| next_pause(Some(pause), &Error::new(code, "no"));
        for code in [Code::KekDenied, Code::KekGone, Code::KeyWrong] {
            assert_eq!(next_pause(None, &Error::new(code, "no")), AGAIN);
            let mut pause = AGAIN;
            for _ in 0..20 {
                let next = after(code, pause);
                assert!(next > pause || next == AGAIN_MAX, "{code:?}: {next:?}");
                pause = next;
            }
            assert_eq!(pause, AGAIN_MAX);
        }
        for code in [Code::KekUnavailable, Code::KekUnlisted, Code::KekUnreachable] {
            assert_eq!(after(code, AGAIN_MAX), AGAIN);
        }
    }
}
