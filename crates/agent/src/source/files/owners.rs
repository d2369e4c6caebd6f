//! Names of users and groups, as this host's `/etc/passwd` and `/etc/group` give them.
//!
//! Read once per run and then only looked up, so it can be shared between threads. Users that only
//! a directory service knows have no name here; their numbers are kept and restored all the same.

use holdfast_common::limits;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

#[derive(Clone, Debug, Default)]
pub struct Owners {
    users: Table,
    groups: Table,
}

#[derive(Clone, Debug, Default)]
struct Table {
    names: HashMap<u32, String>,
    numbers: HashMap<String, u32>,
}

impl Owners {
    /// What cannot be read is as good as empty: owners then go by number.
    pub fn load() -> Self {
        Self::from_texts(&text(Path::new("/etc/passwd")), &text(Path::new("/etc/group")))
    }

    pub fn user(&self, uid: u32) -> Option<&str> {
        self.users.names.get(&uid).map(String::as_str)
    }

    pub fn group(&self, gid: u32) -> Option<&str> {
        self.groups.names.get(&gid).map(String::as_str)
    }

    pub fn uid(&self, user: &str) -> Option<u32> {
        self.users.numbers.get(user).copied()
    }

    pub fn gid(&self, group: &str) -> Option<u32> {
        self.groups.numbers.get(group).copied()
    }

    fn from_texts(passwd: &str, group: &str) -> Self {
        Self { users: Table::parse(passwd), groups: Table::parse(group) }
    }
}

impl Table {
    /// `name:password:number:…`; the first line of a number or a name counts, as for the C library.
    fn parse(text: &str) -> Self {
        let mut table = Self::default();
        for line in text.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(number)) = (fields.next(), fields.nth(1)) else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            if name.is_empty() || name.starts_with(['#', '+', '-']) {
                continue;
            }
            table.names.entry(number).or_insert_with(|| name.to_owned());
            table.numbers.entry(name.to_owned()).or_insert(number);
        }
        table
    }
}

fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(limits::OWNER_FILE_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_counts_and_broken_lines_do_not() {
        let owners = Owners::from_texts(
            "root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\n+nis:x:7:::\nbroken:x\nq:x:-1:0::/:\n",
            "staff:x:50:a,b\n:x:51:\n",
        );
        assert_eq!(owners.user(0), Some("root"));
        assert_eq!(owners.uid("toor"), Some(0));
        assert_eq!(owners.group(50), Some("staff"));
        assert_eq!(owners.gid("staff"), Some(50));
        assert_eq!((owners.user(7), owners.user(1), owners.group(51)), (None, None, None));
    }

    #[test]
    fn this_host_knows_root() {
        assert_eq!(Owners::load().user(0), Some("root"));
    }
}
