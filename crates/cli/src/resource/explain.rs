//! What the fields of declared things mean. A catalogue: rows and examples, no logic.

use super::Kind;

pub struct Page {
    pub about: &'static str,
    pub fields: &'static [Field],
    pub example: &'static str,
}

pub struct Field {
    pub name: &'static str,
    pub form: &'static str,
    /// What holds when the field is left out; `None` when it must be given.
    pub usual: Option<&'static str>,
    pub about: &'static str,
}

pub const fn page(kind: Kind) -> Page {
    match kind {
        Kind::Class => CLASS,
        Kind::Location => LOCATION,
        Kind::Policy => POLICY,
        Kind::Vault => VAULT,
    }
}

const fn must(name: &'static str, form: &'static str, about: &'static str) -> Field {
    Field { name, form, usual: None, about }
}

const fn may(
    name: &'static str,
    form: &'static str,
    usual: &'static str,
    about: &'static str,
) -> Field {
    Field { name, form, usual: Some(usual), about }
}

const CLASS: Page = Page {
    about: "A class says what policies of a kind of data have in common: how long points are kept.",
    fields: &[
        must("kind", "\"class\"", "what this document declares"),
        must("name", "name", "1 to 63 of a-z 0-9 . _ -"),
        may("spec.retention", "table", "everything is kept", "as in `holdfast explain policy`"),
    ],
    example: r#"kind = "class"
name = "gold"

[spec]
retention = { hourly = 24, daily = 30, weekly = 12, monthly = 24, yearly = 10 }
"#,
};

const LOCATION: Page = Page {
    about: "A location is where a vault's objects lie.",
    fields: &[
        must("kind", "\"location\"", "what this document declares"),
        must("name", "name", "1 to 63 of a-z 0-9 . _ -"),
        must("spec.url", "text", "local:/path, a directory that the coordinators can write"),
        may("spec.region", "name", "the coordinator's", "the failure domain that it stands in"),
    ],
    example: r#"kind = "location"
name = "second"

[spec]
url = "local:/srv/holdfast/second"
region = "eu"
"#,
};

const POLICY: Page = Page {
    about: "A policy says what an agent backs up, and into which vault.",
    fields: &[
        must("kind", "\"policy\"", "what this document declares"),
        must("name", "name", "1 to 63 of a-z 0-9 . _ -"),
        must("spec.agent", "name", "the agent whose host is read"),
        may("spec.vault", "name", "main", "the vault that takes the points"),
        must("spec.source.type", "\"files\"", "what kind of thing is read"),
        must("spec.source.paths", "list of paths", "absolute paths on the agent's host"),
        may("spec.source.exclude", "list of patterns", "[]", "entries to leave out"),
        may("spec.source.include", "list of patterns", "[]", "take only these of what is left"),
        may("spec.source.one_file_system", "boolean", "false", "do not cross mount points"),
        may("spec.locations.required", "list of names", "the vault's", "must hold every pack"),
        may("spec.backup.level", "integer", "3", "zstd level"),
        may(
            "spec.backup.bytes_per_second_max",
            "integer",
            "no limit",
            "what the agent may send, 65536 at least",
        ),
        may("spec.class", "name", "none", "the class whose retention it has"),
        may("spec.retention", "table", "the class's", "a point stays while any of these keeps it"),
        may("spec.retention.last", "integer", "none", "the newest so many points"),
        may("spec.retention.hourly", "integer", "none", "the newest of each of so many hours"),
        may("spec.retention.daily", "integer", "none", "the same of days, in UTC"),
        may("spec.retention.weekly", "integer", "none", "of weeks, from Monday on"),
        may("spec.retention.monthly", "integer", "none", "of months"),
        may("spec.retention.yearly", "integer", "none", "of years"),
        may("spec.retention.within", "span", "none", "all that is no older, as 30d"),
        may("spec.retention.versions", "integer", "none", "so many states that differ in turn"),
        may(
            "spec.retention.protect_for",
            "span",
            "the class's, or 14d",
            "nothing goes before it is so old; of policy and class the longer counts",
        ),
    ],
    example: r#"kind = "policy"
name = "nightly"

[spec]
agent = "local"
vault = "main"
source = { type = "files", paths = ["/srv"], exclude = ["*.tmp"], one_file_system = false }
locations = { required = ["main"] }
"#,
};

const VAULT: Page = Page {
    about: "A vault is the domain of keys, dedup, trust and placement.",
    fields: &[
        must("kind", "\"vault\"", "what this document declares"),
        must("name", "name", "1 to 63 of a-z 0-9 . _ -"),
        may("spec.sharing", "\"agent\" or \"vault\"", "agent", "who shares chunks with whom"),
        may("spec.custody", "\"coordinator\" or \"operator\"", "coordinator", "who can open it"),
        may("spec.locations.required", "list of names", "[]", "must hold every pack"),
        may("spec.locations.following", "list of names", "[]", "are brought it a moment later"),
        may(
            "spec.locations.enough",
            "integer",
            "all of them",
            "so many required ones do while others are away",
        ),
        may("spec.locations.wait_secs", "integer", "0", "how long one that is away is waited for"),
        may(
            "spec.locations.copy_bytes_per_second_max",
            "integer",
            "no limit",
            "what copies into one location may take of a line",
        ),
        may("spec.lock.class", "\"governance\" or \"compliance\"", "no lock", "against whom"),
        may("spec.lock.for", "span", "no lock", "how long; made longer when half is over"),
        may(
            "spec.verify.storage_bytes_per_day",
            "integer",
            "8589934592",
            "what is read back of each location; 0 is nothing",
        ),
        may(
            "spec.verify.storage_every_hours",
            "integer",
            "24",
            "how long after one reading of it all began the next one begins",
        ),
    ],
    example: r#"kind = "vault"
name = "images"

[spec]
sharing = "agent"
custody = "coordinator"
locations = { required = ["main"] }
"#,
};
