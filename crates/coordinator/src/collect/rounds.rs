//! The leader's care for rounds: each step that the row of an open round asks for, and a new round
//! when the last one is a day old.
//!
//! A reconciler without a memory that counts: the stage is in the row, and so is what was condemned
//! and by which round. A round that cannot be made, or that is open for days, ends and says why;
//! one that has to wait for a backup, a leader or a clock waits, longer and longer.

use super::{
    care::{Care, is_too_long},
    choice::{choose, room},
    insist_on_peace,
    marking::{judge, mark_all, plan, settle, writing},
    repacking::Repacking,
};
use crate::house::{House, Vault};
use holdfast_common::{
    Code, Error, PackId, Result, SessionId, Timestamp, VaultId, codes::Exit, limits,
};
use holdfast_ledger::{
    Actor,
    command::{
        BeginCollection, ClearCollection, CondemnPacks, DoomPacks, EndCollection, Outcome,
        SealCollection, SparePacks,
    },
    envelope::Refusal,
    level::COLLECTED,
    row::{CollectionRow, PackRow, Stage},
};
use holdfast_repository::collect::{Mark, Verdict};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Sessions whose packs are nobody's garbage.
type Writing = Arc<HashSet<SessionId>>;

const TICK: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(limits::COLLECT_EVERY_SECS);
/// After a round that could not be made.
const AGAIN: Duration = Duration::from_secs(limits::COLLECT_AGAIN_SECS);

pub(crate) async fn keep(house: Arc<House>, shutdown: CancellationToken) -> Result<()> {
    let mut cares = BTreeMap::<VaultId, Care>::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(TICK) => {}
        }
        let looked = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            looked = look(&house, &mut cares) => looked,
        };
        if let Err(error) = looked {
            tracing::debug!(%error, "collection waits; trying again");
        }
    }
}

async fn look(house: &Arc<House>, cares: &mut BTreeMap<VaultId, Care>) -> Result<()> {
    if !house.ledger.leads() || house.ledger.query().level()? < COLLECTED {
        cares.clear();
        return Ok(());
    }
    insist_on_peace(house)?;
    let mut first = Ok(());
    for row in house.ledger.query().vaults()? {
        // What one vault waits for keeps nothing from going on in another.
        first = first.and(look_at(house, &row.id, cares).await);
    }
    first
}

async fn look_at(
    house: &Arc<House>,
    vault: &VaultId,
    cares: &mut BTreeMap<VaultId, Care>,
) -> Result<()> {
    let newest = house.ledger.query().collection(vault)?;
    let Some(round) = newest.as_ref().filter(|round| round.stage != Stage::Over) else {
        cares.remove(vault);
        clear_noted(house, newest.as_ref()).await?;
        return begin_if_due(house, vault).await;
    };
    let care = cares.entry(*vault).or_default();
    if !care.is_due(round, house.clock.elapsed()) {
        return Ok(());
    }
    let gone_on = go_on_or_end(house, round, care).await;
    care.note(gone_on.is_err(), house.clock.elapsed());
    gone_on
}

/// What a round noted goes when it is over, some at a time.
async fn clear_noted(house: &House, over: Option<&CollectionRow>) -> Result<()> {
    let Some(CollectionRow { vault, round, .. }) = over else { return Ok(()) };
    while house.ledger.query().has_new_points(vault)? {
        let end = EndCollection { vault: *vault, round: *round, problem: None };
        if house.ledger.propose(Actor::System, end).await? == Outcome::Unchanged {
            break;
        }
    }
    Ok(())
}

/// Nothing is begun unasked in a vault without a point: there is nothing to tell garbage by.
async fn begin_if_due(house: &Arc<House>, vault: &VaultId) -> Result<()> {
    let query = house.ledger.query();
    let is_its = |point: Result<holdfast_ledger::row::PointRow>| match point {
        Ok(point) if point.vault == *vault => Some(Ok(point.committed)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    };
    let now = house.ledger.now();
    let due = match query.collection(vault)? {
        Some(row) => due(&row),
        // The first one comes a day after the newest point, not at the first start.
        None => match query.newest_points().find_map(is_its).transpose()? {
            Some(committed) => committed.plus(EVERY),
            None => return Ok(()),
        },
    };
    if now < due {
        return Ok(());
    }
    let begin = BeginCollection { vault: *vault };
    house.ledger.propose(Actor::System, begin).await.map(drop)
}

fn due(last: &CollectionRow) -> Timestamp {
    match (&last.problem, last.ended) {
        (Some(_), Some(ended)) => ended.plus(AGAIN),
        _ => last.begun.plus(EVERY),
    }
}

async fn go_on_or_end(house: &Arc<House>, round: &CollectionRow, care: &Care) -> Result<()> {
    let gone_on = match is_too_long(round, house.ledger.now()) {
        true => Err(Error::new(Code::CollectionEarly, "it was not over after three days")),
        false => go_on(house, round, care).await,
    };
    let Err(error) = gone_on else { return Ok(()) };
    if is_waited_out(&error) {
        return Err(error);
    }
    tracing::warn!(%error, round = round.round, "a round of collection ends before it is done");
    let problem = Some(Refusal {
        code: error.code.name().to_owned(),
        message: bounded(&match &error.cause {
            Some(cause) => format!("{} ({cause})", error.message),
            None => error.message.clone(),
        }),
        next: Some(bounded(error.advice())),
    });
    let end = EndCollection { vault: round.vault, round: round.round, problem };
    house.ledger.propose(Actor::System, end).await.map(drop)
}

/// What goes by without anybody doing anything about the round. A location that is away does not
/// belong to it: whoever waits for the round is to hear of that.
pub(super) fn is_waited_out(error: &Error) -> bool {
    matches!(
        error.code,
        Code::ClockDoubtful
            | Code::ClusterBusy
            | Code::ClusterLeaderless
            | Code::ClusterUnreachable
            | Code::CollectionOver
            | Code::RegionParted
    ) || error.code.exit() == Exit::NoSpace
}

fn bounded(text: &str) -> String {
    text.chars().take(limits::COLLECT_PROBLEM_CHARS_MAX).collect()
}

/// The next step of a round.
async fn go_on(house: &Arc<House>, round: &CollectionRow, care: &Care) -> Result<()> {
    let step = Step { house, vault: house.vault(&round.vault)?, round: round.round, care };
    match round.stage {
        Stage::Marking => step.condemn(round.below).await,
        Stage::Sealed => step.clear(round.sealed).await,
        Stage::Clear => step.doom(round.cleared).await,
        Stage::Over => Ok(()),
    }
}

struct Step<'a> {
    house: &'a Arc<House>,
    vault: Vault,
    round: u64,
    care: &'a Care,
}

impl Step<'_> {
    /// Marks, condemns what no point needs, and seals that. Where there is no room for more, what
    /// is condemned goes all the same: that makes room.
    async fn condemn(&self, below: u64) -> Result<()> {
        match self.condemn_all(below).await {
            Err(error) if error.code.exit() == Exit::NoSpace => {
                tracing::warn!(%error, round = self.round, "no more is condemned in this round");
            }
            condemned => condemned?,
        }
        let seal = SealCollection { vault: self.vault.row.id, round: self.round };
        self.house.ledger.propose(Actor::System, seal).await.map(drop)
    }

    /// What an older round condemned and a point needs is offered again.
    async fn condemn_all(&self, below: u64) -> Result<()> {
        let mark = match self.care.mark(self.round, 0) {
            Some(mark) => mark,
            None => {
                let insist = self.insist_on(Stage::Marking);
                self.care.keep(self.round, 0, mark_all(self.house, &self.vault, &insist).await?)
            }
        };
        let mut judged = plan((*mark).clone());
        let (mut dead, mut live, mut after) = (Vec::new(), Vec::new(), None);
        let writing = Arc::new(writing(self.house.ledger.query())?);
        loop {
            let (house, vault, writing) = (self.house.clone(), self.vault.row.id, writing.clone());
            let from = after;
            let look = move || {
                let query = house.ledger.query();
                let page = query.packs(&vault, from.as_ref())?;
                let verdicts = judge(query, &mut judged, &writing, &page)?;
                Ok((judged, page, verdicts))
            };
            let (back, page, verdicts) = self.house.tasks.run_blocking("packs", look).await?;
            judged = back;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            let verdicts: HashMap<PackId, Verdict> = verdicts.into_iter().collect();
            for pack in &page {
                match (verdicts.get(&pack.id), pack.condemned) {
                    (Some(Verdict::Condemn), condemned)
                        if condemned != Some(self.round) && pack.base < below =>
                    {
                        dead.push(pack.id);
                    }
                    (Some(Verdict::Condemn) | None, _) | (Some(_), None) => {}
                    (Some(_), Some(_)) => live.push(pack.id),
                }
            }
            self.condemn_full(&mut dead).await?;
            self.spare_full(&mut live).await?;
        }
        self.condemn_batch(dead).await?;
        self.spare(live).await?;
        self.condemn_live(judged.mark(), (below, writing)).await
    }

    /// What is to be packed anew, as far as there is room.
    async fn condemn_live(&self, mark: &Mark, (below, writing): (u64, Writing)) -> Result<()> {
        let room = room(self.house, &self.vault).await;
        let (house, vault, mark) = (self.house.clone(), self.vault.row.id, mark.clone());
        let look = move || choose(house.ledger.query(), (&vault, below), &mark, &writing, room);
        let chosen = self.house.tasks.run_blocking("packs", look).await?;
        for packs in chosen.packs.chunks(limits::PACKS_COLLECTED_MAX) {
            let (vault, round, packs) = (self.vault.row.id, self.round, packs.to_vec());
            let condemn = CondemnPacks { vault, round, packs, live: Some(true) };
            self.house.ledger.propose(Actor::System, condemn).await?;
        }
        Ok(())
    }

    async fn condemn_full(&self, dead: &mut Vec<PackId>) -> Result<()> {
        while dead.len() >= limits::PACKS_COLLECTED_MAX {
            let rest = dead.split_off(limits::PACKS_COLLECTED_MAX);
            self.condemn_batch(std::mem::replace(dead, rest)).await?;
        }
        Ok(())
    }

    async fn spare_full(&self, live: &mut Vec<PackId>) -> Result<()> {
        while live.len() >= limits::PACKS_COLLECTED_MAX {
            let rest = live.split_off(limits::PACKS_COLLECTED_MAX);
            self.spare(std::mem::replace(live, rest)).await?;
        }
        Ok(())
    }

    async fn condemn_batch(&self, packs: Vec<PackId>) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        let (vault, round) = (self.vault.row.id, self.round);
        let condemn = CondemnPacks { vault, round, packs, live: None };
        self.house.ledger.propose(Actor::System, condemn).await.map(drop)
    }

    async fn spare(&self, packs: Vec<PackId>) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        let spare = SparePacks { vault: self.vault.row.id, packs };
        self.house.ledger.propose(Actor::System, spare).await.map(drop)
    }

    /// Goes on when those who began before are done. The ledger looks once more.
    async fn clear(&self, sealed: u64) -> Result<()> {
        if !self.house.ledger.query().waited_for(&self.vault.row.id, sealed)?.is_empty() {
            return Ok(());
        }
        let clear = ClearCollection { vault: self.vault.row.id, round: self.round };
        match self.house.ledger.propose(Actor::System, clear).await {
            Err(error) if error.code == Code::CollectionEarly => Ok(()),
            cleared => cleared.map(drop),
        }
    }

    /// Marks what came since the round began, spares what that needs, and dooms the rest.
    async fn doom(&self, cleared: u64) -> Result<()> {
        let insist = self.insist_on(Stage::Clear);
        let mark = match self.care.mark(self.round, cleared) {
            Some(mark) => mark,
            None => {
                let (house, vault) = (self.house, (&self.vault, self.round));
                let mark = settle(house, vault, Mark::new(), &insist).await?;
                self.care.keep(self.round, cleared, mark)
            }
        };
        let mut after = None;
        while let Some(page) = self.condemned(&mark, after).await? {
            for part in page.needed.chunks(limits::PACKS_COLLECTED_MAX) {
                self.spare(part.to_vec()).await?;
            }
            after = Some(page.last);
        }
        let mut after = None;
        while let Some(page) = self.condemned(&mark, after).await? {
            after = Some(page.last);
            insist(0)?;
            for packs in page.dead.chunks(limits::PACKS_COLLECTED_MAX) {
                let (vault, packs) = (self.vault.row.id, packs.to_vec());
                let doom = DoomPacks { vault, round: self.round, packs, cleared };
                self.house.ledger.propose(Actor::System, doom).await?;
            }
        }
        // What goes altogether first: that needs no room.
        let (house, vault, round) = (self.house, &self.vault, self.round);
        Repacking { house, vault, round, cleared, insist: &insist }.all().await?;
        let (vault, round) = (self.vault.row.id, self.round);
        let end = EndCollection { vault, round, problem: None };
        self.house.ledger.propose(Actor::System, end).await?;
        self.tell();
        Ok(())
    }

    /// What no point needed that this round condemned and nobody took back, of the next page.
    async fn condemned(&self, mark: &Arc<Mark>, after: Option<PackId>) -> Result<Option<Parted>> {
        let (house, vault, round) = (self.house.clone(), self.vault.row.id, self.round);
        let mark = mark.clone();
        let look = move || {
            let mut page = house.ledger.query().packs(&vault, after.as_ref())?;
            let Some(last) = page.last().map(|pack| pack.id) else { return Ok(None) };
            page.retain(|pack| pack.condemned == Some(round) && pack.live.is_none());
            Ok(Some(parted(&mark, &page, last)))
        };
        self.house.tasks.run_blocking("condemned packs", look).await
    }

    fn tell(&self) {
        if let Ok(Some(row)) = self.house.ledger.query().collection(&self.vault.row.id) {
            let CollectionRow { condemned, spared, doomed, doomed_bytes, .. } = row;
            let vault = &self.vault.row.name;
            tracing::info!(%vault, condemned, spared, doomed, doomed_bytes, "a round is over");
        }
    }

    /// Refuses when the round is not at this stage any more, or nothing may be collected now.
    fn insist_on(&self, stage: Stage) -> impl Fn(u64) -> Result<()> + Send + Sync + use<'_> {
        move |_points| {
            insist_on_peace(self.house)?;
            let row = self.house.ledger.query().collection(&self.vault.row.id)?;
            let is_it = |row: &CollectionRow| row.round == self.round && row.stage == stage;
            match self.house.ledger.leads() && row.as_ref().is_some_and(is_it) {
                true => Ok(()),
                false => Err(Error::new(Code::CollectionOver, "somebody else goes on with it")),
            }
        }
    }
}

/// Those of a page that a mark needs, and those that it does not.
struct Parted {
    needed: Vec<PackId>,
    dead: Vec<PackId>,
    /// Where the next page begins.
    last: PackId,
}

fn parted(mark: &Mark, packs: &[PackRow], last: PackId) -> Parted {
    let is_needed = |pack: &&PackRow| mark.needed().meets_any(pack.numbers());
    let (needed, dead): (Vec<&PackRow>, Vec<&PackRow>) = packs.iter().partition(is_needed);
    let ids = |packs: Vec<&PackRow>| packs.into_iter().map(|pack| pack.id).collect();
    Parted { needed: ids(needed), dead: ids(dead), last }
}
