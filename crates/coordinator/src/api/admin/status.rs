//! One glance: cluster, agents, sources, alarms.

use super::{checks, copies, locks};
use crate::{
    agents::{doubles, history},
    catalog::{Catalog, Progress},
    house::House,
    keys::follow,
    places::Doubt,
    raft::ClockJump,
    region::awaited,
};
use bytes::Bytes;
use holdfast_common::{Code, Name, PointId, Result, Timestamp};
use holdfast_ledger::{
    Query,
    row::{AgentRow, AgentState, PointRow, PointState, PolicyRow, RunKind, RunState, VaultRow},
};
use holdfast_wire::v1;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

pub(super) async fn status(house: &House) -> Result<v1::StatusResponse> {
    house.ledger.catch_up().await?;
    let state = house.ledger.state();
    let query = house.ledger.query();
    let cluster = query.cluster()?;
    let sources = sources(query)?;
    let (members, of_others) = super::cluster::members(house).await?;
    let mut alarms = alarms(house, &sources)?;
    alarms.extend(of_others);
    // Two members may have one line each of an agent that is doubled.
    let mut told = BTreeSet::new();
    alarms.retain(|alarm| told.insert((alarm.code.clone(), alarm.subject.clone())));
    alarms.extend(history::alarms(house)?);
    let now = house.ledger.now();
    let silent = |member| silent(member, now);
    alarms.extend(members.iter().filter(|member| member.state == "silent").map(silent));
    let mut notes = Vec::new();
    if let Some(bundle) = super::bundle::alarm(house)? {
        if house.trial { &mut notes } else { &mut alarms }.push(bundle);
    }
    notes.extend(super::bundle::newcomers(house)?);
    let ending = super::operators::ending(house)?;
    alarms.extend(ending.alarms);
    notes.extend(ending.notes);
    notes.extend(super::destroy::notes(house)?);
    Ok(v1::StatusResponse {
        cluster_id: Bytes::copy_from_slice(house.cluster.as_bytes()),
        cluster_name: cluster.name.to_string(),
        leader: state.leader,
        epoch: house.ledger.peers().standing().epoch.number,
        term: state.term,
        members,
        leader_since_ns: query.office()?.map(|office| office.since.as_nanos()),
        agents: agents(house)?,
        sources,
        alarms,
        notes,
        now_ns: now.as_nanos(),
        bundle: super::bundle::newest(house)?.as_ref().map(super::keys::bundle),
        level: query.level()?,
    })
}

pub(super) fn agents(house: &House) -> Result<Vec<v1::AgentStatus>> {
    Ok(house.ledger.query().agents()?.iter().map(|row| agent(house, row)).collect())
}

fn agent(house: &House, row: &AgentRow) -> v1::AgentStatus {
    let state = match row.state {
        AgentState::Revoked => "revoked",
        AgentState::Enrolled if house.is_attached(&row.id) => "connected",
        AgentState::Enrolled => "away",
    };
    v1::AgentStatus {
        id: Bytes::copy_from_slice(row.id.as_bytes()),
        name: row.name.to_string(),
        state: state.to_owned(),
        last_seen_ns: house.last_seen(&row.id).map(|time| time.as_nanos()),
        labels: row.labels.clone().into_iter().collect(),
        certificate_ends_ns: row.not_after.as_nanos(),
        duty: row.duty.map(|duty| duty.name().to_owned()),
    }
}

/// Each policy with the newest of its points, by whichever agent. What a policy never had costs
/// nothing to know: the ledger remembers the newest of every source.
fn sources(query: Query<'_>) -> Result<Vec<v1::SourceStatus>> {
    let mut newest: HashMap<Name, PointRow> = HashMap::new();
    for point in query.newest_points() {
        let point = point?;
        let Some(policy) = point.policy.clone() else { continue };
        if newest.get(&policy).is_none_or(|known| known.committed < point.committed) {
            newest.insert(policy, point);
        }
    }
    let policies = query.policies()?;
    Ok(policies.iter().map(|policy| source(policy, newest.get(&policy.name))).collect())
}

fn source(policy: &PolicyRow, newest: Option<&PointRow>) -> v1::SourceStatus {
    v1::SourceStatus {
        policy: Some(policy.name.to_string()),
        agent: policy.agent.to_string(),
        source: policy.source.describe(),
        newest_point: newest.map(|point| Bytes::copy_from_slice(point.id.as_bytes())),
        newest_ns: newest.map(|point| point.committed.as_nanos()),
        ok: newest.is_some_and(|point| point.state == PointState::Complete && point.lost.is_none()),
        verified_ns: newest.and_then(|point| Some(point.verified?.when.as_nanos())),
    }
}

/// Since when the newest point of a source is known to be whole nowhere.
fn lost_newest(house: &House, source: &v1::SourceStatus) -> Option<i64> {
    let id = PointId::from_slice(source.newest_point.as_ref()?).ok()?;
    let point = house.ledger.query().point(&id).ok()?;
    point.lost.map(Timestamp::as_nanos)
}

/// Rows of some packs are not there: what they hold is sent again, and cannot be restored.
fn index_behind((vault, catalog): &(Name, Arc<Catalog>)) -> Option<v1::Alarm> {
    let Progress::Waiting { packs, since, why } = catalog.progress() else { return None };
    Some(v1::Alarm {
        code: Code::IndexLoading.name().to_owned(),
        subject: format!("{vault}: {packs} packs or more"),
        since_ns: Some(since.as_nanos()),
        next: format!("{}: {}", why.code, why.advice()),
    })
}

/// Points that were promised may not restore any more.
fn packs_lost(house: &House, vault: &Name, catalog: &Catalog) -> Option<v1::Alarm> {
    let packs = catalog.lost_packs();
    let query = house.ledger.query();
    let row = query.vault_named(vault).ok()?;
    let given_up = awaited(&query, &row).unwrap_or_default();
    if let Some(location) = given_up.first().filter(|_| packs > 0) {
        return Some(v1::Alarm {
            code: Code::PackMissing.name().to_owned(),
            subject: format!("{vault}: {packs} packs lie in no location that is used"),
            since_ns: None,
            next: format!(
                "`{location}` may have them: bring its region back, `holdfast region failback`"
            ),
        });
    }
    (packs > 0).then(|| v1::Alarm {
        code: Code::PackMissing.name().to_owned(),
        subject: format!("{vault}: {packs} packs are whole in no location"),
        since_ns: None,
        next: "`holdfast verify --all` names the points and paths, and heals what is found again"
            .to_owned(),
    })
}

/// What is the matter with this member itself, whoever asks any of them.
pub(crate) fn own_alarms(house: &House) -> Vec<v1::Alarm> {
    let full = house.ledger.shortage().map(|full| v1::Alarm {
        code: full.code.name().to_owned(),
        subject: house.name.to_string(),
        since_ns: None,
        next: full.advice().to_owned(),
    });
    let jumped = house.ledger.clock_jump().map(|jump| clock_alarm(house, jump));
    full.into_iter()
        .chain(jumped)
        .chain(doubles::alarms(house))
        .chain(house.kek_watch.alarm(house))
        .chain(shared_places(house))
        .chain(house.places.unseen().iter().map(unseen_place).collect::<Vec<_>>())
        .chain(follow::alarm(house))
        .chain(super::collection::stuck(house))
        .collect()
}

/// What is required and was emptied, is not mounted, is another vault's, or does not answer.
fn unseen_place((name, doubt): &(Name, Doubt)) -> v1::Alarm {
    let error = &doubt.error;
    v1::Alarm {
        code: error.code.name().to_owned(),
        subject: format!("a vault requires `{name}`: {}", error.message),
        since_ns: Some(doubt.since.as_nanos()),
        next: match error.code {
            Code::LocationEmpty => format!(
                "mount what belongs there; if it lost everything: holdfast location rebuild {name}"
            ),
            _ => format!("{}: see `holdfast location list`", error.advice()),
        },
    }
}

/// Vaults that have fewer copies than they require: two locations are one directory.
fn shared_places(house: &House) -> Vec<v1::Alarm> {
    let vaults = house.ledger.query().vaults().unwrap_or_default();
    let alarm = |vault: &VaultRow| {
        let shared = house.places.shared(vault)?.error();
        Some(v1::Alarm {
            code: shared.code.name().to_owned(),
            subject: format!("{}: {}", vault.name, shared.message),
            since_ns: None,
            next: shared.advice().to_owned(),
        })
    };
    vaults.iter().filter_map(alarm).collect()
}

/// What an operator should look at. Codes are stable.
fn alarms(house: &House, sources: &[v1::SourceStatus]) -> Result<Vec<v1::Alarm>> {
    let mut alarms = own_alarms(house);
    alarms.extend(house.catalogs().iter().filter_map(index_behind));
    let lost = |(vault, catalog): &(Name, Arc<Catalog>)| packs_lost(house, vault, catalog);
    alarms.extend(house.catalogs().iter().filter_map(lost));
    alarms.extend(disabled(house)?);
    alarms.extend(super::collection::alarms(house)?);
    alarms.extend(copies::alarms(house)?);
    alarms.extend(locks::alarms(house)?);
    alarms.extend(checks::alarms(house)?);
    alarms.extend(super::destroy::alarms(house)?);
    alarms.extend(super::audit_log::alarms(house)?);
    alarms.extend(without_host(house)?);
    alarms.extend(failed_last(house, sources)?);
    alarms.extend(regions(house)?);
    for source in sources.iter().filter(|source| !source.ok) {
        let subject = source.policy.clone().unwrap_or_default();
        alarms.push(match source.newest_point {
            None => v1::Alarm {
                code: "source.point_absent".to_owned(),
                next: format!("holdfast backup {subject}"),
                subject,
                since_ns: None,
            },
            Some(_) if lost_newest(house, source).is_some() => v1::Alarm {
                code: "source.point_lost".to_owned(),
                since_ns: lost_newest(house, source),
                next: format!(
                    "holdfast backup {subject}; `holdfast verify --all` tells what is lost"
                ),
                subject,
            },
            Some(_) => v1::Alarm {
                code: "source.point_partial".to_owned(),
                next: "see which entries were skipped with `holdfast runs`".to_owned(),
                subject,
                since_ns: source.newest_ns,
            },
        });
    }
    for row in house.ledger.query().agents()? {
        if row.state == AgentState::Enrolled && !house.is_attached(&row.id) {
            alarms.push(v1::Alarm {
                code: "agent.connection_absent".to_owned(),
                subject: row.name.to_string(),
                since_ns: Some(house.last_seen(&row.id).unwrap_or(row.enrolled).as_nanos()),
                next: "start the agent on its host".to_owned(),
            });
        }
    }
    Ok(alarms)
}

/// Vaults that nothing is backed up into while a location is disabled.
fn disabled(house: &House) -> Result<Vec<v1::Alarm>> {
    let mut alarms = Vec::new();
    for vault in house.ledger.query().vaults()? {
        for name in &vault.required {
            if let Some(since) = house.places.row(name).ok().and_then(|row| row.disabled) {
                alarms.push(v1::Alarm {
                    code: Code::LocationDisabled.name().to_owned(),
                    subject: format!(
                        "{}: nothing is stored while `{name}` is disabled",
                        vault.name
                    ),
                    since_ns: Some(since.as_nanos()),
                    next: format!("holdfast location enable {name}"),
                });
            }
        }
    }
    Ok(alarms)
}

/// Policies that nothing can be backed up for.
fn without_host(house: &House) -> Result<Vec<v1::Alarm>> {
    let query = house.ledger.query();
    let agents = query.agents()?.into_iter().filter(|row| row.state == AgentState::Enrolled);
    let enrolled: BTreeSet<Name> = agents.map(|row| row.name).collect();
    let policies = query.policies()?.into_iter();
    let alarm = |policy: PolicyRow| v1::Alarm {
        code: "source.agent_revoked".to_owned(),
        subject: policy.name.to_string(),
        since_ns: None,
        next: format!("apply the policy for another agent than `{}`", policy.agent),
    };
    Ok(policies.filter(|policy| !enrolled.contains(&policy.agent)).map(alarm).collect())
}

/// Policies whose last run came to nothing.
fn failed_last(house: &House, sources: &[v1::SourceStatus]) -> Result<Vec<v1::Alarm>> {
    let mut seen: BTreeSet<Name> = BTreeSet::new();
    let mut alarms = Vec::new();
    for run in house.ledger.query().runs().take(RUNS_LOOKED_AT) {
        let run = run?;
        let (Some(policy), Some(ended)) = (&run.policy, run.ended) else { continue };
        if run.kind != RunKind::Backup || !seen.insert(policy.clone()) {
            continue;
        }
        let is_there =
            sources.iter().any(|source| source.policy.as_deref() == Some(policy.as_str()));
        if is_there && matches!(run.state, RunState::Failed | RunState::Interrupted) {
            alarms.push(v1::Alarm {
                code: "source.run_failed".to_owned(),
                subject: policy.to_string(),
                since_ns: Some(ended.as_nanos()),
                next: format!("see why with `holdfast runs show {}`", run.id),
            });
        }
    }
    Ok(alarms)
}

/// This side was superseded; or it leads alone, and its data lies in its own region only.
fn regions(house: &House) -> Result<Option<v1::Alarm>> {
    let standing = house.ledger.peers().standing();
    let row = house.ledger.query().epoch()?;
    let since_ns = row.as_ref().map(|row| row.since.as_nanos());
    if !standing.belongs {
        let over = standing.epoch.supersedes();
        let (subject, next) = (over.message.clone(), over.advice().to_owned());
        return Ok(Some(v1::Alarm { code: over.code.name().to_owned(), subject, since_ns, next }));
    }
    let suspended = row.iter().flat_map(|row| &row.suspended).flat_map(|part| &part.locations);
    let suspended: BTreeSet<&str> = suspended.map(Name::as_str).collect();
    let names: Vec<&str> = suspended.into_iter().collect();
    Ok((!names.is_empty()).then(|| v1::Alarm {
        code: "region.copies_absent".to_owned(),
        subject: format!("nothing new is stored in {}", names.join(", ")),
        since_ns,
        next: "data lies in one region only; see docs/lose-a-region.md".to_owned(),
    }))
}

fn silent(member: &v1::MemberStatus, now: Timestamp) -> v1::Alarm {
    v1::Alarm {
        code: "member.connection_absent".to_owned(),
        subject: member.name.clone(),
        since_ns: member.last_contact_ms.map(|ms| now.minus(Duration::from_millis(ms)).as_nanos()),
        next: format!(
            "start it again; if its disk is lost, type `holdfast cluster remove {}`",
            member.name
        ),
    }
}

/// Nothing destructive may go on while this alarm stands.
fn clock_alarm(house: &House, jump: ClockJump) -> v1::Alarm {
    let next = if jump.wall > jump.ledger {
        "correct the coordinator's clock; if it is right, type `holdfast cluster confirm-clock`"
    } else {
        "correct the coordinator's clock; ledger time is ahead of it and waits"
    };
    v1::Alarm {
        code: "clock.jumped".to_owned(),
        subject: house.name.to_string(),
        since_ns: Some(jump.since.as_nanos()),
        next: next.to_owned(),
    }
}

/// The newest ones: a policy that has not run among so many has other alarms.
const RUNS_LOOKED_AT: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::{Crowd, id, name};
    use holdfast_ledger::row::SourceSpec;

    fn policy(text: &str) -> PolicyRow {
        let (paths, exclude) = (vec![b"/srv".to_vec().into()], Vec::new());
        PolicyRow {
            name: name(text),
            agent: name("local"),
            vault: name("main"),
            source: SourceSpec::Files { paths, exclude, one_file_system: false, include: None },
            required: Vec::new(),
            level: 3,
            bytes_per_second_max: 0,
            revision: 1,
            retention: None,
            class: None,
            retained_since: None,
        }
    }

    #[test]
    fn a_policy_whose_points_are_older_than_a_page_of_others_has_its_newest() {
        let mut crowd = Crowd::default().gathered();
        for text in ["bare", "moved", "nightly"] {
            crowd.put(&policy(text));
        }
        let of = |text: &'static str| move |row: &mut PointRow| row.policy = Some(name(text));
        // By one agent, and earlier and later by others.
        for (source, number) in [(1, 5), (2, 9), (5, 6)] {
            crowd.point(number, of("moved"));
            crowd.newest(source, number);
        }
        crowd.point(7, |row| {
            row.policy = Some(name("nightly"));
            row.state = PointState::Partial;
        });
        crowd.newest(3, 7);
        crowd.newest(4, 100);
        let sources = crowd.ask(sources).unwrap();
        let told: Vec<_> = sources
            .iter()
            .map(|source| (source.policy.as_deref(), source.newest_point.as_deref(), source.ok))
            .collect();
        assert_eq!(
            told,
            [
                (Some("bare"), None, false),
                (Some("moved"), Some(&id(9)[..]), true),
                (Some("nightly"), Some(&id(7)[..]), false),
            ]
        );
    }
}
