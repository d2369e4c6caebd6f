//! Takes a point into the ledger that lies whole in a location and was never committed here: what
//! was lost at the end of a log, or what the other side of a divided cluster made.
//!
//! Whoever proposes it has seen every object there and checked the agent's signature. The point is
//! marked, and its run counts as done, so that it is found by run as well.

use super::{
    Apply, Outcome,
    begin_session::{previous_point, remember_newest},
    close_keys::shut,
    conflict,
    rounds::insist_on_alive,
};
use crate::{
    row::{
        AgentRow, PackRow, PackState, PointRow, PointState, RunKind, RunRow, RunState, SourceSpec,
        pack::pack_key, point::time_key,
    },
    tables::Table,
};
use holdfast_common::{Code, Error, Result};
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, Decode, Encode, PartialEq)]
#[cbor(map)]
pub struct ImportPoint {
    /// `committed` is stamped by the ledger.
    #[n(0)]
    pub point: PointRow,
    /// Packs that it needs and that the ledger does not know, or not as stored.
    #[n(1)]
    pub packs: Vec<PackRow>,
    /// Up to which entry whoever looked knew what was doomed: what is doomed since may be what the
    /// point needs. Members of older levels do not say.
    #[n(2)]
    pub whole_at: Option<u64>,
    /// Up to which entry the reach was compared with what closed versions of the keys open; it has
    /// nothing of it.
    #[n(3)]
    pub keys_at: Option<u64>,
}

impl ImportPoint {
    pub(super) fn apply(&self, apply: &mut Apply<'_, '_>) -> Result<Outcome> {
        apply.insist_on_operator()?;
        if apply.tables.row::<PointRow>(self.point.id.as_bytes())?.is_some() {
            return Ok(Outcome::Unchanged);
        }
        // What was forgotten stays forgotten, wherever its objects turn up.
        if apply.is_point_leaving(&self.point.vault, &self.point.id)? {
            return Ok(Outcome::Unchanged);
        }
        let mut vault = apply.vault(&self.point.vault)?;
        // Of a revoked agent too: what it made before is as good as what was committed then.
        if apply.tables.row::<AgentRow>(self.point.agent.as_bytes())?.is_none() {
            let message = format!("the point's agent {} was never enrolled", self.point.agent);
            return Err(Error::new(Code::AgentMissing, message));
        }
        apply.insist_on_whole(&self.point.vault, self.whole_at)?;
        apply.insist_on_open_keys(&self.point.vault, self.keys_at)?;
        for pack in &self.packs {
            self.take_pack(apply, pack)?;
            vault.next_number = vault.next_number.max(apply.number_behind(pack)?);
        }
        apply.tables.put(&vault)?;
        let (committed, recovered) = (apply.time, Some(true));
        let (lost, verified) = (None, None);
        let point = PointRow { committed, recovered, lost, verified, ..self.point.clone() };
        apply.tables.put(&point)?;
        let order = time_key(point.committed, point.id.as_bytes());
        apply.tables.put_raw(Table::PointTime, &order, point.id.as_bytes().to_vec())?;
        apply.note_new_point(&point, true)?;
        self.end_run(apply, &point)?;
        Ok(Outcome::At(apply.index))
    }

    fn take_pack(&self, apply: &mut Apply<'_, '_>, pack: &PackRow) -> Result<()> {
        if pack.vault != self.point.vault {
            return Err(conflict("a pack is of another vault than its point"));
        }
        let known = apply.tables.row::<PackRow>(&pack_key(&pack.vault, &pack.id))?;
        let state = known.as_ref().map_or(PackState::Intended, |known| known.state);
        if known.as_ref().is_some_and(|known| known.base != pack.base || known.slots != pack.slots)
        {
            let message = format!("the pack {} has other numbers here", pack.id);
            return Err(conflict(message));
        }
        match &known {
            Some(known) => insist_on_alive(known)?,
            None => apply.insist_on_living_name(&pack.vault, &pack.id)?,
        }
        let (taken, sealed_to) = known.map_or((None, None), |known| (known.taken, known.sealed_to));
        let sealed_to = pack.sealed_to.clone().or(sealed_to);
        let (doomed, into) = (None, None);
        let pack = PackRow { state, doomed, taken, into, sealed_to, ..pack.clone() }.spared();
        if apply.closed_keys(&pack.vault)?.shuts(&pack) {
            return Err(shut(&pack.id));
        }
        apply.turn_pack(pack, PackState::Stored)
    }

    /// The run that made it has a row here, or gets one.
    fn end_run(&self, apply: &mut Apply<'_, '_>, point: &PointRow) -> Result<()> {
        let known = apply.tables.row::<RunRow>(point.run.as_bytes())?;
        let is_new = known.is_none();
        let run = known.unwrap_or_else(|| RunRow {
            policy: point.policy.clone(),
            created: apply.time,
            started: Some(apply.time),
            ..RunRow::backup(point.run, point.agent, point.vault, source_of(&point.source))
        });
        if run.kind != RunKind::Backup || point.state == PointState::Safety {
            return Ok(());
        }
        let is_of_source = run.policy.is_some() || run.source_text() == point.source;
        // It is the newest of its source only where it goes on from the newest that is known.
        if is_of_source && previous_point(apply, &run, &point.agent)? == point.previous {
            remember_newest(apply, &run, point)?;
        }
        let state = match point.state {
            PointState::Partial => RunState::Partial,
            _ => RunState::Done,
        };
        let (ended, at) = (Some(apply.time), time_key(run.created, run.id.as_bytes()));
        if is_new {
            apply.tables.put_raw(Table::RunTime, &at, run.id.as_bytes().to_vec())?;
        }
        apply.put_run(&RunRow { state, ended, point: Some(point.id), error: None, ..run })
    }
}

/// What a run read whose point says this of it, and which nothing else tells of. It is called the
/// same again, so that it stays the same source; what it left out is not known.
fn source_of(text: &str) -> SourceSpec {
    let mut paths: Vec<String> = Vec::new();
    for part in text.strip_prefix("files:").unwrap_or("/").split(',') {
        match paths.last_mut() {
            // A comma of the path itself.
            Some(path) if !part.starts_with('/') => {
                path.push(',');
                path.push_str(part);
            }
            _ => paths.push(part.to_owned()),
        }
    }
    let paths = paths.into_iter().map(|path| path.into_bytes().into()).collect();
    SourceSpec::Files { paths, exclude: Vec::new(), one_file_system: false, include: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_only_its_point_tells_of_is_called_the_same() {
        for text in ["files:/srv", "files:/srv,/etc", "files:/a,b,/c", "files:/a, b"] {
            let source = source_of(text);
            assert_eq!(source.describe(), text);
            let SourceSpec::Files { paths, .. } = source;
            assert!(paths.iter().all(|path| path.starts_with(b"/")), "{text}");
        }
    }
}
