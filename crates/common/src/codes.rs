//! The catalogue of error codes. A code is stable: scripts and alarms rely on its name.
//!
//! `area.noun_problem`, the exit code it leads to, whether trying again may help, and what to do
//! when nothing better is known. `docs/errors.md` lists the same rows; a test compares the two.

use core::fmt;

/// Exit codes of the command line, as classes of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Refused = 4,
    Unreachable = 5,
    Damage = 7,
    Conflict = 8,
    NoSpace = 9,
}

macro_rules! codes {
    ($($variant:ident $name:literal $exit:ident $retry:literal $advice:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($variant,)* }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub const fn exit(self) -> Exit {
                match self { $(Self::$variant => Exit::$exit,)* }
            }

            pub const fn retry(self) -> bool {
                match self { $(Self::$variant => $retry,)* }
            }

            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }

            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

codes! {
    AgentAmbiguous "agent.name_ambiguous" Usage false "name the agent with --agent";
    AgentDutyOther "agent.duty_other" Refused false "name another agent: `holdfast agent list` says which are verifiers; one becomes it by its token, `holdfast agent token --verifier`";
    AgentIsSource "agent.source_own" Refused false "name a verifier on another host: what a host made is not proven by itself";
    AgentMissing "agent.name_unknown" NotFound false "list the agents with `holdfast agent list`";
    AgentOffline "agent.connection_absent" Unreachable true "start the agent on its host and try again";
    AgentOutdated "agent.version_old" Refused false "bring holdfast on the agent's host to the version of the coordinators";
    AgentRevoked "agent.identity_revoked" Refused false "enrol the host again with a new token";
    AuthDenied "auth.permission_denied" Refused false "use an identity whose role allows this call";
    AuthMissing "auth.identity_missing" Refused false "connect with the certificate in operator.toml";
    CertificateRefused "certificate.content_refused" Refused false "check the clocks of both hosts; enrol again if the certificate has expired";
    CertificatePinWrong "certificate.pin_wrong" Refused false "check the address; make a new token if the cluster was replaced";
    ChunkDamaged "chunk.content_damaged" Damage false "run `holdfast verify --all --level storage` and restore from another location";
    ChunkMissing "chunk.content_missing" Damage false "run `holdfast verify --all --level storage`";
    ChunkRefused "chunk.reach_refused" Refused false "ask only for chunks of the point that was granted";
    ClockDoubtful "clock.time_doubtful" Refused false "set the clock of this host, or say that it is right: --confirm-clock";
    ClusterBusy "cluster.member_busy" Unreachable true "wait a moment and try again";
    ClusterLastVoter "cluster.last_voter" Refused false "promote another member first";
    ClusterLeaderless "cluster.leader_unknown" Unreachable true "wait for an election; see `holdfast cluster status`";
    ClusterUnreachable "cluster.endpoint_unreachable" Unreachable true "check that a coordinator runs at the endpoints in the context file";
    CollectionEarly "collection.session_open" Conflict true "it goes on by itself when the backups that began before have ended";
    CollectionOver "collection.round_over" Conflict true "begin a new round";
    CollectionPaused "collection.region_away" Refused false "bring the region back with `holdfast region failback`, or give it up with `holdfast region forget`";
    ConfigMalformed "config.file_malformed" Usage false "correct the file and run the command again";
    ConfirmMissing "confirm.answer_missing" Refused false "add --yes to confirm without a terminal";
    ContextMissing "context.file_missing" Usage false "name one with --context FILE or HOLDFAST_CONTEXT";
    DiskFull "disk.space_exhausted" NoSpace true "free some space and run the command again";
    EpochSuperseded "epoch.superseded" Refused false "ask a coordinator of the region that leads; see `holdfast region status`";
    EpochTaken "epoch.number_taken" Conflict false "see who claimed it with `holdfast region status`";
    EpochUnproven "epoch.claim_unproven" Refused false "ask a member with data: `holdfast region status`";
    FileChanged "file.content_changed" Failed true "the file changed while it was read; the next backup takes it again";
    FileExists "file.target_exists" Refused false "choose an empty directory, or allow overwriting with --force";
    FileIoFailed "file.io_failed" Failed true "check the device and its log";
    FileMissing "file.path_missing" NotFound false "check the path";
    FilePermissionDenied "file.permission_denied" Failed false "run the process as a user that may read or write this path";
    FileTypeUnsupported "file.type_unsupported" Failed false "exclude the path";
    HistoryMissing "history.catalog_missing" NotFound false "name a location that a vault of this cluster requires";
    HistoryTorn "history.entries_missing" Damage false "name another location too with a further --from, or go on without them: --up-to-gap REASON";
    HoldMissing "hold.id_unknown" NotFound false "list the holds with `holdfast hold list`";
    IndexLoading "index.loading" Conflict true "the coordinator reads its index again: wait a moment and try again";
    InternalBug "internal.invariant_broken" Failed false "report it with the log around this line";
    KekDenied "kek.access_denied" Refused false "see what the provider lets this coordinator's PIN, token or role do: docs/kek.md";
    KekGone "kek.key_gone" Refused false "enable or restore the key at its provider, or import a bundle under another KEK: docs/kek.md";
    KekUnavailable "kek.provider_unavailable" Failed true "check the key file, variable or passphrase that the configuration names";
    KekUnlisted "kek.provider_unlisted" Refused false "name the KEK in `kek_allowed` of every coordinator's coordinator.toml: docs/kek.md";
    KekUnreachable "kek.provider_unreachable" Unreachable true "see to the KEK's provider and the way to it; what runs goes on without it";
    KeyCustodyRefused "key.custody_refused" Refused false "this vault is in operator custody: name the operator's key, or use a bundle that was exported with it";
    KeyVaultChanged "key.vault_changed" Refused false "nothing was sealed; ask whoever holds the vault's key whether it was replaced";
    KeyDestroyed "key.version_destroyed" Refused false "it was destroyed for good; only a bundle that was exported before opens what was sealed to it";
    KeyNeedsUnknown "key.needs_unknown" Conflict true "wait until every pack was looked into; `holdfast keys destroy --dry-run` tells what is left";
    KeyRequestMissing "key.request_unknown" NotFound false "list what was asked for with `holdfast keys list`";
    KeySecondMissing "key.second_refused" Refused false "have another administrator agree, whom neither you nor who asked made one";
    KeyVersionMissing "key.version_unknown" NotFound false "list the versions with `holdfast keys list`";
    KeyWrong "key.unwrap_refused" Refused false "use the key that this vault or bundle was made with";
    BundleMalformed "bundle.file_malformed" Failed false "use an intact copy of the bundle";
    LeaseExpired "lease.session_expired" Conflict true "start the run again";
    LevelLow "cluster.level_low" Refused false "bring every member to the newest holdfast; see `holdfast cluster status`";
    LevelUnknown "cluster.level_unknown" Refused false "start a newer holdfast here: the cluster has gone on to what this one does not know";
    LimitExceeded "limit.size_exceeded" Refused false "see docs/limits.md";
    LocationBehind "location.copies_behind" Failed false "see how far it is: `holdfast location list`";
    LocationBucketMissing "location.bucket_missing" NotFound false "make the bucket, or mend the location's URL";
    LocationClockSkewed "location.clock_skewed" Refused false "set the clock of the coordinator's host, by NTP say";
    LocationCredentialsMissing "location.credentials_missing" Refused false "give the coordinator credentials: in its environment, in a profile, or of its instance";
    LocationCredentialsRefused "location.credentials_refused" Refused false "give the coordinator credentials that are valid there";
    LocationDisabled "location.use_disabled" Refused false "put it to use again: `holdfast location enable NAME`";
    LocationEmpty "location.vault_absent" Refused false "mount what belongs there; nothing was written";
    LocationFull "location.space_exhausted" NoSpace true "free space at the location and run the command again";
    LocationIoFailed "location.io_failed" Unreachable true "check the location with `holdfast verify --all --level storage`";
    LocationLockAbsent "location.lock_absent" Refused false "keep the vault in a bucket with object lock: `holdfast location test`; see docs/lock-objects.md";
    LocationMissing "location.name_unknown" NotFound false "list the locations with `holdfast location list`";
    LocationPassedOver "location.passed_over" Failed false "see to the location; it is required again when it lacks nothing";
    LocationPlaceReadable "location.place_readable" Refused false "leave --old-is-gone out: what only the old place has is brought from there";
    LocationReadOnly "location.read_only" Refused false "leave `at=` out of the location's URL: what was there at a moment can only be read";
    LocationRefused "location.access_refused" Refused false "let the user that holdfast runs as read and write the location";
    LocationRegionWrong "location.region_wrong" Refused false "name the bucket's region in the location's URL: ?region=REGION";
    LocationRequestRefused "location.request_refused" Refused false "mend what the server refused in the location's URL or at the bucket";
    LocationShared "location.place_shared" Refused false "give each location a directory of its own, on a disk of its own";
    LocationUnfenced "location.fence_absent" Refused false "require a location that writes a name once; this one can hold further copies";
    LogDamaged "log.record_damaged" Damage false "do not start it on this data again; where other members are left, type `holdfast cluster remove` and let a new one join in an empty directory";
    ManifestDamaged "manifest.page_damaged" Damage false "run `holdfast verify` on the point";
    MemberForeign "member.identity_differs" Refused false "join again with a new token and an empty data directory";
    MemberLagging "member.log_behind" Conflict true "wait until `holdfast cluster status` shows that it has caught up";
    MemberMissing "member.name_unknown" NotFound false "list the members with `holdfast cluster status`";
    MemberRemoved "member.identity_removed" Refused false "join again with a new token and an empty data directory";
    MemberWitness "member.duty_witness" Unreachable true "call another member; see `holdfast cluster status`";
    MountDirectoryTaken "mount.directory_taken" Refused false "name an empty directory that nothing is mounted on";
    MountRefused "mount.permission_denied" Refused false "run it as root, or install fusermount3 (Debian's fuse3) for everybody else";
    MountUnsupported "mount.device_missing" Refused false "load the kernel's module with `modprobe fuse`, or give the container the device";
    ObjectConflict "object.name_taken" Conflict false "an object of this name holds other bytes; run `holdfast verify --all`";
    ObjectDamaged "object.content_damaged" Damage false "run `holdfast verify --all --level storage`";
    ObjectLocked "object.lock_holds" Refused false "wait until the lock ends; until then nobody can delete it";
    ObjectMissing "object.name_missing" Damage false "run `holdfast verify --all --level storage`";
    OperatorEnded "operator.certificate_ended" Refused false "have another operator issue the name again: `holdfast operator request NAME`";
    OperatorLast "operator.last_one" Refused false "issue another one first: `holdfast operator issue NAME --to DIR`";
    OperatorMissing "operator.name_unknown" NotFound false "list the operators with `holdfast operator list`";
    OperatorRevoked "operator.identity_revoked" Refused false "ask another operator; see docs/operators.md";
    PackDamaged "pack.content_damaged" Damage false "run `holdfast verify --all --level storage`";
    PackForeign "pack.vault_foreign" Refused false "the pack belongs to another vault";
    PackMissing "pack.missing" Damage false "run `holdfast verify --all --level storage`";
    PackRefused "pack.content_refused" Refused false "the agent sent a pack that does not hold what it says";
    PointAmbiguous "point.id_ambiguous" Usage false "give more characters of the id";
    PointKept "point.removal_refused" Refused false "see why it stays: `holdfast retain POLICY --dry-run`";
    PointKeyDestroyed "point.key_destroyed" Refused false "restore another point; a bundle that was exported before the key was destroyed opens it as long as its objects lie there";
    PointMissing "point.id_unknown" NotFound false "list the points with `holdfast points`";
    PointOutOfReach "point.location_lost" Unreachable false "bring the region back that was given up: `holdfast region failback REGION`";
    PointUnread "point.content_unread" Failed true "verify it again; if that does not help, see the verifier's log";
    PointSignatureWrong "point.signature_wrong" Damage false "the record was not signed by the enrolled agent; restore another point";
    PolicyMissing "policy.name_unknown" NotFound false "list the policies with `holdfast get policy`";
    RecordMalformed "record.bytes_malformed" Damage false "the bytes are damaged or from a newer version";
    RegionBehind "region.member_behind" Conflict true "ask the member that has most of the log";
    RegionElsewhere "region.member_elsewhere" Refused false "name an endpoint of that region in the context file";
    RegionLeads "region.lead_held" Refused false "nothing needs to be done; see `holdfast region status`";
    RegionLocationUnproven "region.location_unproven" Refused false "mount or mend the region's locations; see `holdfast region check REGION`";
    RegionMissing "region.name_unknown" NotFound false "list the regions with `holdfast region status`";
    RegionPlanChanged "region.plan_changed" Conflict true "type it again, and look at what it would take now";
    RegionParted "region.side_parted" Refused false "bring the region back with `holdfast region failback`, or give it up: `holdfast region forget`";
    RegionPrimaryAlive "region.primary_alive" Refused false "if it is cut off for good, say so: --force --reason TEXT";
    RegionSilent "region.members_silent" Refused false "start one of its coordinators; if all are gone for good: --force --reason TEXT";
    ResourceConflict "resource.change_refused" Conflict false "read the resource again and apply the change to its newest form";
    ResourceMissing "resource.name_unknown" NotFound false "list what there is with `holdfast get KIND`";
    ResourceMalformed "resource.field_malformed" Usage false "see `holdfast explain KIND`";
    RunBusy "run.policy_busy" Conflict true "wait for the running backup of this policy";
    RunCancelled "run.request_cancelled" Failed false "start the run again";
    RunInterrupted "run.agent_interrupted" Failed true "run it again; only what is missing is sent";
    RunMissing "run.id_unknown" NotFound false "list the runs with `holdfast runs`";
    SegmentDamaged "segment.content_damaged" Damage false "the index is a cache: it is rebuilt from the packs";
    SessionMissing "session.id_unknown" Conflict true "start the run again";
    SourceEmpty "source.paths_missing" NotFound false "none of the paths exists on the agent's host";
    SafetyMissing "safety.point_missing" Refused false "look at the run and at the agent's log, or restore without one: --no-safety-point";
    TargetEscape "target.path_escaped" Refused false "nothing was written outside the target; look at the point's links";
    TargetRefused "target.path_refused" Refused false "choose another directory, or allow this one with restore_targets in agent.toml on that host";
    TokenExpired "token.expired" Refused false "make a new one: `holdfast agent token`, or `holdfast cluster token` for a coordinator";
    TokenRefused "token.unknown" Refused false "make a new one: `holdfast agent token`, or `holdfast cluster token` for a coordinator";
    TokenUsed "token.used" Refused false "make a new one: `holdfast agent token`, or `holdfast cluster token` for a coordinator";
    UsageIdMalformed "usage.id_malformed" Usage false "copy the id as it was printed";
    UsageMalformed "usage.argument_malformed" Usage false "see --help";
    UsageNameMalformed "usage.name_malformed" Usage false "choose another name";
    UsageTimeMalformed "usage.time_malformed" Usage false "write the time as 2026-11-21T10:00:00Z";
    VaultCollected "vault.packs_collected" Conflict true "try again: what it relies on is compared with what went";
    VaultForeign "vault.id_foreign" Refused false "the object belongs to another vault";
    VaultGrown "vault.locations_grown" Conflict true "try again: it is put into the further location too";
    VaultKeysClosed "vault.keys_closed" Conflict true "try again: what it relies on is compared with what closed versions of the keys open";
    VaultMissing "vault.name_unknown" NotFound false "list the vaults with `holdfast get vault`";
    VersionUnknown "version.format_unknown" Failed false "use a newer holdfast";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_an_area_and_a_noun_with_its_problem() {
        for code in Code::ALL {
            let (area, problem) = code.name().split_once('.').unwrap();
            assert!(area.bytes().all(|b| b.is_ascii_lowercase()), "{code}");
            assert!(problem.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert_eq!(Code::from_name(code.name()), Some(*code));
        }
    }

    #[test]
    fn the_errors_page_lists_every_code_and_no_other() {
        let page = include_str!("../../../docs/errors.md");
        let listed: Vec<&str> =
            page.lines().filter_map(|l| l.strip_prefix("| `")?.split('`').next()).collect();
        let mut known: Vec<&str> = Code::ALL.iter().map(|c| c.name()).collect();
        known.sort_unstable();
        assert_eq!(listed, known, "docs/errors.md and codes.rs differ");
    }
}
