//! Rows into messages, and the few messages that become rows.

use crate::{
    agents::dispatch::source_to_wire,
    house::House,
    trial::{Check, Trial},
    vaults::{Lying, Settings},
};
use bytes::Bytes;
use holdfast_common::{Code, Error, LockClass, Name, Result, Timestamp, limits};
use holdfast_ledger::{
    envelope::Refusal,
    row::{
        Beside, Checks, ClassRow, Custody, ForgottenRow, LocationRow, LockTerms, PointRow,
        PolicyRow, RestoreCounts, RestoreRow, Retention, RunCounts, RunRow, Sharing, SourceSpec,
        VaultRow, VerifyCounts, VerifyRow,
    },
};
use holdfast_storage::{LocationUrl, Locking, Probe};
use holdfast_wire::{parse, v1};

pub(super) fn chunk_parameters() -> v1::ChunkParameters {
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    v1::ChunkParameters {
        min: size(limits::CDC_BYTES_MIN),
        average: size(limits::CDC_BYTES_AVG),
        max: size(limits::CDC_BYTES_MAX),
        fixed: size(limits::FIXED_CHUNK_BYTES),
    }
}

pub(super) fn counts_from_wire(counts: &v1::RunCounts) -> RunCounts {
    RunCounts {
        entries: counts.entries,
        bytes_read: counts.bytes_read,
        bytes_new: counts.bytes_new,
        bytes_stored: counts.bytes_stored,
        chunks_new: counts.chunks_new,
        chunks_reused: counts.chunks_reused,
        skipped: counts.skipped,
    }
}

fn counts(counts: &RunCounts) -> v1::RunCounts {
    v1::RunCounts {
        entries: counts.entries,
        bytes_read: counts.bytes_read,
        bytes_new: counts.bytes_new,
        bytes_stored: counts.bytes_stored,
        chunks_new: counts.chunks_new,
        chunks_reused: counts.chunks_reused,
        skipped: counts.skipped,
    }
}

fn names(names: &[Name]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn parse_names(names: &[String]) -> Result<Vec<Name>> {
    names.iter().map(|name| parse::name(name)).collect()
}

pub(super) fn run(house: &House, run: &RunRow) -> Result<v1::Run> {
    let query = house.ledger.query();
    Ok(v1::Run {
        id: Bytes::copy_from_slice(run.id.as_bytes()),
        kind: run.kind.name().to_owned(),
        state: run.state.name().to_owned(),
        policy: run.policy.as_ref().map(ToString::to_string),
        agent: match &run.agent {
            Some(agent) => query.agent(agent)?.name.to_string(),
            None => String::new(),
        },
        point: run.point.or(run.granted()).map(|point| Bytes::copy_from_slice(point.as_bytes())),
        created_ns: run.created.as_nanos(),
        started_ns: run.started.map(|time| time.as_nanos()),
        ended_ns: run.ended.map(|time| time.as_nanos()),
        counts: Some(counts(&run.counts)),
        error: run.error.as_ref().map(|error| v1::ErrorDetail {
            code: error.code.clone(),
            message: error.message.clone(),
            cause: None,
            next: error.next.clone(),
        }),
        vault: query.vault(&run.vault)?.name.to_string(),
        restored: run.restore.as_ref().map(restored),
        verified: run.verify.as_ref().map(|verify| verified(verify, run.error.as_ref())),
    })
}

fn verified(verify: &VerifyRow, error: Option<&Refusal>) -> v1::Verified {
    let VerifyCounts { entries, bytes, damaged } = verify.counts;
    let code = error.filter(|_| damaged > 0).map(|error| error.code.clone());
    let report = verify.report.as_ref().map(|report| report.to_vec()).unwrap_or_default();
    let (code, sealed_report) = (code.unwrap_or_default(), report.into());
    v1::Verified { entries, bytes, damaged, code, sealed_report }
}

fn restored(restore: &RestoreRow) -> v1::Restored {
    let RestoreCounts { entries, bytes_written, bytes_reused, .. } = restore.counts;
    let RestoreCounts { removed, verified, skipped, .. } = restore.counts;
    let report = restore.report.as_ref().map(|report| report.to_vec());
    v1::Restored {
        entries,
        bytes_written,
        bytes_reused,
        removed,
        verified,
        skipped,
        sealed_report: report.unwrap_or_default().into(),
        safety_point: restore.safety_point.map(|id| Bytes::copy_from_slice(id.as_bytes())),
    }
}

pub(super) fn forgotten(house: &House, row: &ForgottenRow) -> Result<v1::ForgottenPoint> {
    Ok(v1::ForgottenPoint {
        point: Some(point(house, &row.point)?),
        when_ns: row.when.as_nanos(),
        by: row.by.to_string(),
        why: row.why.clone(),
        key_version: row.key_version,
    })
}

pub(super) fn point(house: &House, point: &PointRow) -> Result<v1::Point> {
    let query = house.ledger.query();
    let vault = query.vault(&point.vault)?;
    let suspended = query.epoch()?.map(|epoch| epoch.suspended).unwrap_or_default();
    let is_held = |name: &Name| {
        let is_suspended =
            suspended.iter().any(|part| part.vault == vault.id && part.locations.contains(name));
        is_suspended || vault.holding().any(|held| held == name)
    };
    let mut locations = Vec::with_capacity(point.locations.len());
    for name in &point.locations {
        // Of a place that took another one's name it is not known yet.
        let copies = query.copies_in(&point.vault, name)?;
        let confirms = copies.is_none_or(|copies| copies.confirms());
        let confirmed = is_held(name) && confirms && point.lost.is_none();
        let lock = query.locks_in(&point.vault, name)?.filter(|_| confirmed);
        let locked_until_ns = lock.and_then(|lock| lock.holds(point)).map(Timestamp::as_nanos);
        let name = name.to_string();
        locations.push(v1::PointLocation { name, confirmed, locked_until_ns });
    }
    Ok(v1::Point {
        id: Bytes::copy_from_slice(point.id.as_bytes()),
        policy: point.policy.as_ref().map(ToString::to_string),
        agent: query.agent(&point.agent)?.name.to_string(),
        vault: vault.name.to_string(),
        source: point.source.clone(),
        time_ns: point.committed.as_nanos(),
        state: point.state.name().to_owned(),
        entries: point.entries,
        bytes: point.bytes,
        locations,
        run_id: Bytes::copy_from_slice(point.run.as_bytes()),
        skipped: point.skipped,
        verified_ns: point.verified.map(|verified| verified.when.as_nanos()),
        verified_by: match &point.verified {
            Some(verified) => Some(query.agent(&verified.agent)?.name.to_string()),
            None => None,
        },
    })
}

pub(super) fn vault(row: &VaultRow) -> v1::Resource {
    let beside = row.beside.clone().unwrap_or_default();
    let checks = row.checks.unwrap_or_default();
    let spec = v1::VaultSpec {
        sharing: match row.sharing {
            Sharing::Agent => "agent".to_owned(),
            Sharing::Vault => "vault".to_owned(),
        },
        custody: match row.custody {
            Custody::Coordinator => "coordinator".to_owned(),
            Custody::Operator => "operator".to_owned(),
        },
        required: row.required_as_declared().map(Name::to_string).collect(),
        following: row.following_as_declared().map(Name::to_string).collect(),
        copy_bytes_per_second_max: beside.bytes_per_second_max,
        enough: beside.enough,
        wait_secs: beside.wait_secs,
        returning: names(&beside.returning),
        lock: row
            .lock
            .map(|lock| v1::LockSpec { class: lock.class.name().to_owned(), secs: lock.secs }),
        check_bytes_per_day: checks.storage_bytes_per_day,
        check_every_hours: checks.storage_every_hours,
        id: Bytes::copy_from_slice(row.id.as_bytes()),
        key_version: row.key_version,
    };
    resource(&row.name, row.revision, v1::resource::Spec::Vault(spec))
}

pub(super) fn location(row: &LocationRow) -> v1::Resource {
    let spec = v1::LocationSpec { url: row.url.clone(), region: row.region.to_string() };
    resource(&row.name, row.revision, v1::resource::Spec::Location(spec))
}

pub(super) fn policy(row: &PolicyRow) -> v1::Resource {
    let spec = v1::PolicySpec {
        agent: row.agent.to_string(),
        vault: row.vault.to_string(),
        source: Some(source_to_wire(&row.source)),
        required: names(&row.required),
        backup: Some(v1::BackupSettings {
            level: row.level,
            bytes_per_second_max: row.bytes_per_second_max,
        }),
        retention: row.retention.as_ref().map(retention),
        class: row.class.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    resource(&row.name, row.revision, v1::resource::Spec::Policy(spec))
}

pub(super) fn class(row: &ClassRow) -> v1::Resource {
    let spec = v1::ClassSpec { retention: row.retention.as_ref().map(retention) };
    resource(&row.name, row.revision, v1::resource::Spec::Class(spec))
}

pub(super) fn class_row(name: Name, spec: &v1::ClassSpec) -> ClassRow {
    let retention = spec.retention.as_ref().map(retention_from_wire);
    ClassRow { name, retention, revision: 0, retained_since: Timestamp::ZERO }
}

fn retention(rules: &Retention) -> v1::RetentionSpec {
    let Retention { last, hourly, daily, weekly, monthly, yearly, .. } = rules;
    v1::RetentionSpec {
        last: *last,
        hourly: *hourly,
        daily: *daily,
        weekly: *weekly,
        monthly: *monthly,
        yearly: *yearly,
        within_secs: rules.within_secs,
        versions: rules.versions,
        protect_secs: rules.protect_secs,
    }
}

fn retention_from_wire(spec: &v1::RetentionSpec) -> Retention {
    Retention {
        last: spec.last,
        hourly: spec.hourly,
        daily: spec.daily,
        weekly: spec.weekly,
        monthly: spec.monthly,
        yearly: spec.yearly,
        within_secs: spec.within_secs,
        versions: spec.versions,
        protect_secs: spec.protect_secs,
    }
}

fn resource(name: &Name, revision: u64, spec: v1::resource::Spec) -> v1::Resource {
    v1::Resource { name: name.to_string(), revision, spec: Some(spec) }
}

pub(super) fn policy_row(name: Name, spec: &v1::PolicySpec) -> Result<PolicyRow> {
    let backup = spec.backup.unwrap_or_default();
    Ok(PolicyRow {
        name,
        agent: parse::name(&spec.agent)?,
        vault: parse::name(&spec.vault)?,
        source: source(spec.source.as_ref())?,
        required: parse_names(&spec.required)?,
        level: level(backup.level)?,
        bytes_per_second_max: bandwidth(backup.bytes_per_second_max)?,
        revision: 0,
        retention: spec.retention.as_ref().map(retention_from_wire),
        class: parse::name_if_any(Some(&spec.class))?,
        retained_since: None,
    })
}

/// What an agent may send a second; zero means no bound. Below the pace that packs must come at no
/// backup could end.
pub(super) fn bandwidth(bytes_per_second: u64) -> Result<u64> {
    let min = limits::POLICY_BYTES_PER_SECOND_MIN;
    if bytes_per_second != 0 && bytes_per_second < min {
        let message =
            format!("`bytes_per_second_max` of {bytes_per_second} is less than packs must come at");
        return Err(Error::new(Code::ResourceMalformed, message)
            .next(format!("set it to {min} or more, or leave it out for no limit")));
    }
    Ok(bytes_per_second)
}

/// The zstd level; zero means the default.
pub(super) fn level(level: i32) -> Result<i32> {
    match level {
        0 => Ok(3),
        1..=19 => Ok(level),
        other => Err(Error::new(Code::ResourceMalformed, format!("{other} is no level"))
            .next("choose a compression level from 1 to 19")),
    }
}

pub(super) fn source(source: Option<&v1::SourceSpec>) -> Result<SourceSpec> {
    let source = parse::required("a source", source.and_then(|s| s.source.as_ref()))?;
    let v1::source_spec::Source::Files(files) = source;
    insist_on_few_names(files)?;
    Ok(SourceSpec::Files {
        paths: files.paths.iter().map(|path| path.to_vec().into()).collect(),
        exclude: files.exclude.clone(),
        one_file_system: files.one_file_system,
        include: Some(files.include.clone()).filter(|list| !list.is_empty()),
    })
}

/// The ledger counts what every member of any version counts: include lists came later.
fn insist_on_few_names(files: &v1::FilesSource) -> Result<()> {
    let paths = files.paths.iter().map(|path| path.len());
    let patterns = files.include.iter().chain(&files.exclude).map(String::len);
    let bytes: usize = paths.chain(patterns).map(|length| length + NAME_FRAME_BYTES).sum();
    if bytes > limits::SOURCE_BYTES_MAX {
        return Err(Error::new(Code::LimitExceeded, "a source names too many paths and patterns")
            .next("name a directory above them"));
    }
    Ok(())
}

pub(super) fn location_row(name: Name, spec: &v1::LocationSpec) -> Result<LocationRow> {
    let region = if spec.region.is_empty() { "default" } else { &spec.region };
    Ok(LocationRow {
        name,
        url: parse::text("the url", spec.url.clone())?,
        region: parse::name(region)?,
        revision: 0,
        disabled: None,
    })
}

/// What a trial came to, for whoever asked for it.
pub(super) fn trial(location: String, url: &LocationUrl, trial: &Trial) -> v1::LocationTrial {
    let Probe { create_only, checked, versioned, locking, free_bytes, .. } = trial.probe;
    let locking = match locking {
        Locking::Off => "off",
        Locking::Ignored => "ignored",
        Locking::Enforced => "enforced",
    };
    let untried = trial.probe.locking_refused.as_ref();
    v1::LocationTrial {
        location,
        url: url.to_string(),
        usable: trial.refusal().is_none(),
        checks: trial.checks.iter().map(check).collect(),
        create_only,
        checked,
        versioned,
        object_lock: locking.to_owned(),
        free_bytes,
        clock_skew_ms: trial.skew_ms,
        permissions_missing: trial.permissions_missing(url.scheme()),
        object_lock_code: untried.map(|error| error.code.name().to_owned()).unwrap_or_default(),
        object_lock_detail: untried.map(detail).unwrap_or_default(),
    }
}

fn check(check: &Check) -> v1::LocationCheck {
    let refused = check.refused.as_ref();
    v1::LocationCheck {
        name: check.name.to_owned(),
        ok: refused.is_none(),
        ms: check.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        code: refused.map(|error| error.code.name().to_owned()).unwrap_or_default(),
        detail: refused.map(detail).unwrap_or_default(),
        next: refused.map(|error| error.advice().to_owned()).unwrap_or_default(),
    }
}

fn detail(error: &Error) -> String {
    match &error.cause {
        Some(cause) => format!("{}: {cause}", error.message),
        None => error.message.clone(),
    }
}

pub(super) fn vault_settings(spec: &v1::VaultSpec) -> Result<Settings> {
    let unknown = |what: &str, value: &str| {
        Error::new(Code::ResourceMalformed, format!("`{value}` is no {what}"))
    };
    let sharing = match spec.sharing.as_str() {
        "" | "agent" => Sharing::Agent,
        "vault" => Sharing::Vault,
        other => return Err(unknown("sharing", other).next("write agent or vault")),
    };
    let custody = match spec.custody.as_str() {
        "" | "coordinator" => Custody::Coordinator,
        "operator" => Custody::Operator,
        other => return Err(unknown("custody", other).next("write coordinator or operator")),
    };
    let beside = Beside {
        following: parse_names(&spec.following)?,
        returning: Vec::new(),
        bytes_per_second_max: spec.copy_bytes_per_second_max,
        enough: spec.enough,
        wait_secs: spec.wait_secs,
    };
    let beside = (beside != Beside::default()).then_some(beside);
    let checks = Checks {
        storage_bytes_per_day: spec.check_bytes_per_day,
        storage_every_hours: spec.check_every_hours,
    };
    let checks = (checks != Checks::default()).then_some(checks);
    let lock = spec.lock.as_ref().map(lock_terms).transpose()?;
    let lying = Lying { required: parse_names(&spec.required)?, beside, checks, lock };
    Ok(Settings { sharing, custody, lying })
}

fn lock_terms(spec: &v1::LockSpec) -> Result<LockTerms> {
    let Some(class) = LockClass::named(&spec.class) else {
        let message = format!("`{}` is no class of locks", spec.class);
        return Err(
            Error::new(Code::ResourceMalformed, message).next("write governance or compliance")
        );
    };
    Ok(LockTerms { class, secs: spec.secs })
}

/// What a path or a pattern takes in a row beside itself.
const NAME_FRAME_BYTES: usize = 5;
