//! Shipping the ledger's log to the locations: what was reported committed outlives this cluster.
//!
//! ```text
//!   applied ─→ (linger, or somebody waits) ─→ extent: entries from..=to, sealed ─→ every required
//!                                                     location ─→ shipped := to ─→ waiters go on
//! ```
//!
//! Extents are gap-free and written once. A restart goes on behind the last one it knows of; when
//! an extent of that beginning is there already, its own header says how far it reaches. An answer
//! "committed" waits until the extent that holds its entry is durable, and nobody had claimed a
//! newer epoch by then: why that is enough is told in `region/promote`.

use crate::{
    house::House,
    shipped::{
        self,
        lasting::{self, Last},
    },
};
use bytes::Bytes;
use futures::future::join_all;
use holdfast_common::{
    ClusterId, Code, Entropy, Error, Result, Secret,
    codes::Exit,
    limits::{EXTENT_BYTES_MAX, EXTENT_ENTRIES_MAX},
};
use holdfast_keyring::aead;
use holdfast_ledger::row::{Position, VaultRow};
use holdfast_repository::layout;
use holdfast_runtime::files;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

const MAGIC: &[u8; 8] = b"HFLG\x01\0\0\0";
const HEADER_BYTES: usize = 8 + 16 + 8 + 8 + 8;
const LINGER: Duration = Duration::from_secs(1);
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(2);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How long it is tried, beside what the vault waits, before that goes on without a location.
const PASSED_OVER_AFTER: Duration = Duration::from_secs(6);
/// How long an answer waits for the locations when it need not.
const OUTLAST_MAX: Duration = Duration::from_secs(3);
const PAUSE_WITHOUT_LEADER: Duration = Duration::from_millis(50);
const LISTEN_INTERVAL: Duration = Duration::from_secs(10);
pub(crate) const EXTENT_OBJECT_BYTES_MAX: usize = 2 * EXTENT_BYTES_MAX;

/// How far the log has been shipped, and who waits for it.
pub(crate) struct Shipping {
    shipped: watch::Sender<u64>,
    /// Why the newest try did not work; room is not made by waiting for it.
    failed: watch::Sender<Option<Error>>,
    /// The furthest that somebody waits for.
    wanted: AtomicU64,
    urgent: Notify,
    /// Whoever has the KEK can open what lies in the locations.
    has_key: AtomicBool,
    /// Up to where agents are told that everything lies in the locations, and what is next.
    told: Mutex<(Option<Position>, Option<Position>)>,
    /// The log in a location has a gap before this entry: a snapshot behind it is wanted.
    pub(crate) gap: AtomicU64,
    pub(super) last: Last,
}

impl Default for Shipping {
    fn default() -> Self {
        let (shipped, failed) = (watch::channel(0).0, watch::channel(None).0);
        let (wanted, has_key) = (AtomicU64::new(0), AtomicBool::new(false));
        let (urgent, told, last) = (Notify::new(), Mutex::default(), Last::default());
        Self { shipped, failed, wanted, urgent, has_key, told, gap: AtomicU64::new(0), last }
    }
}

impl Shipping {
    /// The newest place in history of which it is known that it lies in the locations.
    pub(crate) fn told(&self) -> Option<Position> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// So much lies in the locations; `here` is where the ledger is.
    pub(crate) fn tell(&self, shipped: u64, here: Option<Position>) {
        let lies_there = |place: &Position| place.index <= shipped;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for place in [told.1, here].into_iter().flatten().filter(lies_there) {
            if told.0.is_none_or(|known| known.index < place.index) {
                told.0 = Some(place);
            }
        }
        told.1 = told.1.filter(|place| !lies_there(place)).or(here);
    }

    fn is_waited_for(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > *self.shipped.borrow()
    }

    /// Something may be shipped now that could not be before.
    pub(crate) fn hurry(&self) {
        self.urgent.notify_one();
    }

    /// Waits until everything up to `index` is durable in the locations.
    pub(crate) async fn wait(&self, index: u64, patience: Duration) -> Result<()> {
        let mut shipped = self.shipped.subscribe();
        if *shipped.borrow() >= index {
            return Ok(());
        }
        let failed = self.failed.subscribe();
        self.wanted.fetch_max(index, Ordering::Relaxed);
        self.urgent.notify_one();
        let cause = tokio::select! {
            biased;
            Ok(_) = shipped.wait_for(|at| *at >= index) => return Ok(()),
            error = next_without_space(failed) => Some(error),
            () = tokio::time::sleep(patience) => self.failed.borrow().clone(),
        };
        let code = cause.as_ref().map_or(Code::LocationIoFailed, |error| error.code);
        let error = Error::new(code, "the ledger's log did not reach a required location")
            .next("see to the location, or free space there; the log is shipped by itself then");
        Err(match cause {
            Some(cause) => error.cause(cause),
            None => error,
        })
    }
}

impl House {
    /// Waits until everything up to `index` is durable in the locations, whoever ships it; how far
    /// it is then.
    pub(crate) async fn shipped(&self, index: u64) -> Result<u64> {
        let wait = catalog_vault(self).map_or(Duration::ZERO, |vault| vault.wait());
        let deadline = Instant::now() + WAIT_MAX + wait;
        loop {
            self.ledger.peers().insist_on_epoch()?;
            let tried = match self.ledger.current_leader() {
                Some(leader) if leader == self.node_id => self.shipped_here(index).await,
                Some(leader) => {
                    self.ledger.peers().await_shipped(leader, index, WAIT_MAX + wait).await
                }
                None => Err(not_here()),
            };
            match tried {
                Err(error) if may_mend(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE_WITHOUT_LEADER).await;
                }
                ended => return ended,
            }
        }
    }

    /// Has what was agreed so far in the locations before it is answered, unless that takes long: a
    /// location that is away must not keep people from shutting somebody out. What a side agreed
    /// that was superseded meanwhile is no answer.
    pub(crate) async fn outlast(&self) -> Result<()> {
        let index = *self.ledger.applied().borrow();
        match tokio::time::timeout(OUTLAST_MAX, self.shipped(index)).await {
            Ok(Ok(_)) => {}
            _ => tracing::warn!(index, "answered before it was in the locations"),
        }
        self.ledger.peers().insist_on_epoch()
    }

    /// The same on the member that leads, and so ships.
    pub(crate) async fn shipped_here(&self, index: u64) -> Result<u64> {
        // A witness that leads hands over at once: whoever asks finds the next one.
        if !self.ledger.leads() || self.is_witness() {
            return Err(not_here());
        }
        let wait = catalog_vault(self).map_or(Duration::ZERO, |vault| vault.wait());
        self.shipping.wait(index, WAIT_MAX + wait).await?;
        Ok(*self.shipping.shipped.borrow())
    }
}

fn not_here() -> Error {
    Error::new(Code::ClusterLeaderless, "this member does not ship the log")
}

fn may_mend(error: &Error) -> bool {
    matches!(error.code, Code::ClusterLeaderless | Code::ClusterUnreachable)
}

/// The next try that finds no space. What earlier ones found may be mended.
async fn next_without_space(mut failed: watch::Receiver<Option<Error>>) -> Error {
    while failed.changed().await.is_ok() {
        if let Some(error) = failed.borrow_and_update().as_ref()
            && error.code.exit() == Exit::NoSpace
        {
            return error.clone();
        }
    }
    std::future::pending().await
}

/// The reconciler: ships what was applied, for as long as the process runs.
pub(crate) async fn ship(
    house: Arc<House>,
    key: Secret<32>,
    shutdown: CancellationToken,
) -> Result<()> {
    let mut applied = house.ledger.applied();
    let known = hint(&house);
    house.ledger.note_shipped(known);
    house.shipping.shipped.send_replace(known);
    let mut failing: Option<Instant> = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = applied.changed() => if changed.is_err() { return Ok(()) },
            () = house.shipping.urgent.notified() => {}
        }
        if !house.ledger.leads() {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = listen(&house) => {}
            }
            continue;
        }
        // Whoever waits already has said so before the loop came here.
        if !house.shipping.is_waited_for() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = house.shipping.urgent.notified() => {}
                () = tokio::time::sleep(LINGER) => {}
            }
        }
        let tried = ship_applied(&house, &key).await;
        house.shipping.failed.send_replace(tried.as_ref().err().cloned());
        if let Err(error) = tried {
            tracing::warn!(%error, "the log could not be shipped; trying again");
            let since = *failing.get_or_insert_with(Instant::now);
            if let Ok(vault) = catalog_vault(&house)
                && since.elapsed() > PASSED_OVER_AFTER + vault.wait()
            {
                house.places.pass_over_silent(&vault).await;
            }
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
            house.shipping.urgent.notify_one();
        } else {
            failing = None;
        }
        if shutdown.is_cancelled() {
            return Ok(());
        }
    }
}

/// On a member that never ships: hears how far it is, so that its log does not grow for ever.
pub(crate) async fn follow(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let known = hint(&house);
    house.ledger.note_shipped(known);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = listen(&house) => {}
        }
    }
}

/// While another member ships: hears now and then how far that is.
async fn listen(house: &House) {
    if let Some(leader) = house.ledger.current_leader()
        && let Ok(shipped) = house.ledger.peers().await_shipped(leader, 0, WAIT_MAX).await
    {
        note(house, shipped.min(*house.ledger.applied().borrow()));
    }
    // Whoever is elected goes on at once.
    let changed = house.ledger.leader_changed();
    drop(tokio::time::timeout(LISTEN_INTERVAL, changed).await);
}

/// Up to here nobody needs the log any more. The file is only a hint: without it, extents are found
/// one by one.
fn note(house: &House, shipped: u64) {
    house.ledger.note_shipped(shipped);
    house.shipping.tell(shipped, house.ledger.position());
    if house.shipping.shipped.send_replace(shipped) == shipped {
        return;
    }
    if let Err(error) = files::write_public(&house.shipped_hint, shipped.to_string().as_bytes()) {
        tracing::debug!(%error, "no hint could be left for the next start");
    }
}

async fn ship_applied(house: &House, key: &Secret<32>) -> Result<()> {
    if house.ledger.epoch()? < house.ledger.peers().standing().epoch.number {
        // The new epoch is not in the ledger yet: in the name of the old one nobody ships any more.
        return Ok(());
    }
    let vault = catalog_vault(house)?;
    if !house.shipping.has_key.load(Ordering::Relaxed) {
        shipped::key::put(house, &vault).await?;
        house.shipping.has_key.store(true, Ordering::Relaxed);
    }
    if shipped::snapshot::is_owed(house.ledger.query())? {
        let message = "no snapshot of the ledger lies in the locations yet";
        return Err(Error::new(Code::ClusterBusy, message));
    }
    let mut is_first = true;
    loop {
        let from = *house.shipping.shipped.borrow() + 1;
        let applied = *house.ledger.applied().borrow();
        let is_wanted = house.shipping.wanted.load(Ordering::Relaxed) >= from;
        // What nobody waits for lingers, so that many entries share an extent.
        let is_due = is_first || is_wanted || applied + 1 >= from + EXTENT_ENTRIES_MAX;
        if from > applied || !is_due {
            return Ok(());
        }
        is_first = false;
        // Read again: an extent behind the entry that requires a location lies there too.
        let vault = catalog_vault(house)?;
        note(house, ship_from(house, &vault, key, from, applied).await?);
    }
}

/// Brings every required location on by one extent; how far all of them are then.
///
/// An extent of this beginning may be there already, from before a restart, from a try that reached
/// some locations only, or from another leader, who cut it elsewhere. It is adopted when it says
/// what our log says, put where it is missing, and never written a second time with other bytes. So
/// extents of two leaders may overlap, and end differently in two locations; what they say is the
/// same.
async fn ship_from(
    house: &House,
    vault: &VaultRow,
    key: &Secret<32>,
    from: u64,
    applied: u64,
) -> Result<u64> {
    house.places.prove_all(vault).await?;
    let places = house.places.required(vault).await?;
    lasting::look(house, vault, &places).await?;
    let epoch = epoch(house)?;
    let name = layout::ObjectName::log(epoch, from).as_str().parse()?;
    let mut there = Vec::with_capacity(places.len());
    for (_, store) in &places {
        there.push(match store.head(&name).await? {
            Some(_) => Some(store.get(&name, EXTENT_OBJECT_BYTES_MAX).await?),
            None => None,
        });
    }
    let mut least = u64::MAX;
    for extent in there.iter().flatten() {
        least = least.min(adopt(house, key, extent, from, applied).await?);
    }
    let missing = || places.iter().zip(&there).filter(|(_, there)| there.is_none());
    let looked = || crate::region::insist_unclaimed(house, &places, u64::from(epoch));
    looked().await?;
    if missing().next().is_none() {
        house.shipping.last.note(house, &name, least, &places);
        return Ok(least);
    }
    let extent = match there.iter().flatten().next() {
        Some(extent) => extent.clone(),
        None => {
            let (to, extent) = new_extent(house, key, from, applied).await?;
            least = to;
            extent
        }
    };
    let puts = missing().map(|((_, store), _)| store.put_new(&name, extent.clone()));
    for put in join_all(puts).await {
        put?;
    }
    looked().await?;
    house.shipping.last.note(house, &name, least, &places);
    Ok(least)
}

/// How far an earlier process says it shipped; never ahead of what is durable.
fn hint(house: &House) -> u64 {
    let text = std::fs::read_to_string(&house.shipped_hint).unwrap_or_default();
    text.parse().unwrap_or(0).min(*house.ledger.applied().borrow())
}

/// The vault whose required locations hold the catalog, as far as they are in use.
pub(crate) fn catalog_vault(house: &House) -> Result<VaultRow> {
    let vaults = house.ledger.query().vaults()?;
    let oldest = vaults.into_iter().min_by_key(|vault| vault.created);
    let nowhere = || Error::new(Code::VaultMissing, "there is no vault to ship the log to");
    house.places.in_use(&oldest.ok_or_else(nowhere)?)
}

/// The name behind which whoever leads now may write extents of the log still.
pub(crate) fn settled(house: &House) -> Result<layout::ObjectName> {
    Ok(layout::ObjectName::log(epoch(house)?, *house.shipping.shipped.borrow()))
}

/// A new extent that begins at `from`, with its last index.
async fn new_extent(
    house: &House,
    key: &Secret<32>,
    from: u64,
    applied: u64,
) -> Result<(u64, Bytes)> {
    let (to, plaintext) = entries(house, from, applied.min(from + EXTENT_ENTRIES_MAX - 1)).await?;
    let head = header(&house.cluster, epoch(house)?, from, to);
    let extent = sealed(key, head, &plaintext, house.entropy.as_ref());
    Ok((to, Bytes::from(extent)))
}

pub(crate) fn sealed(
    key: &Secret<32>,
    header: Vec<u8>,
    plaintext: &[u8],
    entropy: &dyn Entropy,
) -> Vec<u8> {
    let field = aead::seal(key.expose(), &header, plaintext, entropy);
    [header, field].concat()
}

/// The entries of an extent, end to end.
pub(crate) fn opened(key: &Secret<32>, extent: &[u8]) -> Result<Vec<u8>> {
    let (head, field) = extent.split_at_checked(HEADER_BYTES).unwrap_or((extent, &[]));
    aead::open(key.expose(), head, field)
}

/// Entries of our own log from `from` to `to`, or fewer when they are large.
async fn entries(house: &House, from: u64, to: u64) -> Result<(u64, Vec<u8>)> {
    let (mut last, mut plaintext) = (from - 1, Vec::new());
    for (index, entry) in house.ledger.log(from, to).await? {
        if index != last + 1 {
            return Err(lacks(last + 1));
        }
        last = index;
        plaintext.extend_from_slice(&entry);
        if plaintext.len() >= EXTENT_BYTES_MAX {
            return Ok((last, plaintext));
        }
    }
    // Before a hole may lie what was never agreed on.
    let is_hole = last < to && house.ledger.is_purged(last + 1);
    if last < from || is_hole { Err(lacks(last + 1)) } else { Ok((last, plaintext)) }
}

fn lacks(index: u64) -> Error {
    Error::new(Code::LogDamaged, format!("the log lacks entry {index}"))
}

/// The last index of an extent that says the same as our log. Another history stops shipping: a
/// ledger that was rolled back must not pass for the one that was shipped.
async fn adopt(
    house: &House,
    key: &Secret<32>,
    extent: &[u8],
    from: u64,
    applied: u64,
) -> Result<u64> {
    let to = reach_of(extent, &house.cluster)?;
    let other = || {
        Error::new(Code::LogDamaged, "a location holds a log of another history")
            .next("this coordinator's data is older than what was shipped; recover it")
    };
    let shipped = opened(key, extent).map_err(|_| other())?;
    if to < from {
        return Err(other());
    }
    if to > applied {
        return Err(Error::new(Code::ClusterBusy, "the log is shipped further than it is applied"));
    }
    match entries(house, from, to).await {
        Ok((last, own)) if last == to && own == shipped => Ok(to),
        // Purged here: our snapshot covers it, and its seal says that it is ours.
        Err(error) if error.code == Code::LogDamaged && house.ledger.is_purged(from) => Ok(to),
        Ok(_) => Err(other()),
        Err(error) => Err(error),
    }
}

/// The epoch that the ledger is in: extents of two histories never share a name.
pub(crate) fn epoch(house: &House) -> Result<u32> {
    u32::try_from(house.ledger.epoch()?)
        .map_err(|error| Error::new(Code::InternalBug, "an epoch").cause(error))
}

pub(crate) fn header(cluster: &ClusterId, epoch: u32, from: u64, to: u64) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(cluster.as_bytes());
    header.extend_from_slice(&u64::from(epoch).to_le_bytes());
    header.extend_from_slice(&from.to_le_bytes());
    header.extend_from_slice(&to.to_le_bytes());
    header
}

/// The last index of an extent of ours.
pub(crate) fn reach_of(extent: &[u8], cluster: &ClusterId) -> Result<u64> {
    let foreign = || Error::new(Code::RecordMalformed, "an extent of the log cannot be read");
    let header = extent.get(..HEADER_BYTES).ok_or_else(foreign)?;
    if &header[..8] != MAGIC || &header[8..24] != cluster.as_bytes() {
        return Err(foreign());
    }
    let to = header.last_chunk::<8>().ok_or_else(foreign)?;
    Ok(u64::from_le_bytes(*to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::entry_written_anew;
    use holdfast_keyring::ClusterRecoveryKey;

    const CLUSTER: ClusterId = ClusterId::from_bytes([7; 16]);
    /// Entries 5 to 7 of term 3 by member 1: none, a command, the members.
    const ENTRIES: [&[u8]; 3] = [
        b"\xa1\x00\xa3\x00\x03\x01\x01\x02\x05",
        b"\xa2\x00\xa3\x00\x03\x01\x01\x02\x06\x01\x47command",
        b"\xa2\x00\xa3\x00\x03\x01\x01\x02\x07\x02\xa2\x01\x81\x81\x01\x02\xa1\x01\xa3\
          \x00\x63one\x01\x62eu\x02\x64a:11",
    ];

    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, out: &mut [u8]) {
            (0..).zip(out).for_each(|(count, byte)| *byte = count);
        }
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn only_what_lies_in_the_locations_is_told() {
        let shipping = Shipping::default();
        let at = |index| Some(Position { index, ..Position::default() });
        let told = |shipped, here| {
            shipping.tell(shipped, at(here));
            shipping.told().map_or(0, |place| place.index)
        };
        assert_eq!(told(0, 5), 0, "the ledger is ahead of the locations");
        assert_eq!(told(4, 7), 0);
        assert_eq!(told(5, 9), 5, "what was ahead has arrived");
        assert_eq!(told(9, 9), 9);
        assert_eq!(told(9, 30), 9);
        assert_eq!(told(29, 31), 9);
        assert_eq!(told(40, 31), 31);
    }

    /// Format §12. Never edited: a form that changes gets a version and a file of its own.
    #[test]
    fn an_extent_of_the_first_version_is_written_and_read() {
        let golden = include_str!("../../tests/golden/log-extent.hex");
        let golden = bytes_of(golden);
        let secret = Secret::from_slice(&[9; 32]).unwrap();
        let key = ClusterRecoveryKey::from_secret(secret).log_key();
        let now = sealed(&key, header(&CLUSTER, 1, 5, 7), &ENTRIES.concat(), &Counting);
        assert!(now == golden, "log-extent.hex would now be {now:02x?}");
        assert_eq!(reach_of(&golden, &CLUSTER).unwrap(), 7);
        assert_eq!(opened(&key, &golden).unwrap(), ENTRIES.concat());
        for entry in ENTRIES {
            assert_eq!(entry_written_anew(entry).unwrap(), entry);
        }
        for at in [0, 24, 32, 40, golden.len() - 1] {
            let mut other = golden.clone();
            other[at] ^= 1;
            assert!(opened(&key, &other).is_err(), "byte {at} is not bound");
        }
        assert!(opened(&key, &golden[..HEADER_BYTES - 1]).is_err());
    }

    #[test]
    fn an_extent_says_how_far_it_reaches_and_whose_it_is() {
        let cluster = ClusterId::from_bytes([7; 16]);
        let extent = header(&cluster, 1, 5, 9);
        assert_eq!(extent.len(), HEADER_BYTES);
        assert_eq!(reach_of(&extent, &cluster).unwrap(), 9);
        assert!(reach_of(&extent, &ClusterId::from_bytes([8; 16])).is_err());
        assert!(reach_of(&extent[..HEADER_BYTES - 1], &cluster).is_err());
    }
}
