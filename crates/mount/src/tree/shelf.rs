//! All points by their ids, times and policies, as of a moment ago: the list is asked for again
//! when somebody looks and it is some seconds old. While that fails, the last one is shown.

use super::{Options, entries};
use crate::{
    calendar::{Calendar, Policy, find},
    handles::Child,
    lock,
    nodes::{Node, Place},
    point::{Library, Unreadable},
    told::Told,
};
use core::time::Duration;
use holdfast_common::{Clock, Code, PointId, Result, Timestamp, limits};
use std::sync::{Arc, Mutex};

pub(super) struct Shelf {
    library: Arc<dyn Library>,
    clock: Arc<dyn Clock>,
    told: Arc<Told>,
    now: Mutex<Now>,
    looking: Mutex<()>,
}

#[derive(Default)]
struct Now {
    calendar: Arc<Calendar>,
    /// When it should be asked for again.
    due: Duration,
    failed: Option<Code>,
}

impl Shelf {
    pub(super) fn new(library: Arc<dyn Library>, clock: Arc<dyn Clock>, told: Arc<Told>) -> Self {
        Self { library, clock, told, now: Mutex::default(), looking: Mutex::default() }
    }

    /// Asks for the list.
    pub(super) fn look(&self) -> Result<()> {
        let begun = self.clock.elapsed();
        let listing = self.library.list();
        let ended = self.clock.elapsed();
        // A list that takes long is asked for less often, though not by how long nobody answered.
        let pause = ended.saturating_sub(begun) * LOOKS_SHARE;
        let pause = pause.clamp(REFRESH, REFRESH_MAX);
        let mut now = lock(&self.now);
        now.due = ended + pause;
        match listing {
            Ok(listing) => {
                now.calendar = Arc::new(Calendar::of(&listing));
                if let Some(code) = now.failed.take() {
                    self.told.forget(None, b"", code);
                }
                Ok(())
            }
            Err(error) => {
                now.failed = Some(error.code);
                Err(error)
            }
        }
    }

    /// The list, at most some seconds old where it can be had. One asks again at a time; the others
    /// go on with what is there.
    pub(super) fn calendar(&self) -> Arc<Calendar> {
        let is_due = lock(&self.now).due <= self.clock.elapsed();
        if is_due
            && let Ok(_looking) = self.looking.try_lock()
            && let Err(error) = self.look()
        {
            self.told.tell(Unreadable { point: None, path: Vec::new(), error });
        }
        Arc::clone(&lock(&self.now).calendar)
    }

    /// What is under a name of one of its directories.
    pub(super) fn find(&self, options: &Options, place: &Place, name: &[u8]) -> Option<Node> {
        let name = core::str::from_utf8(name).ok()?;
        let calendar = self.calendar();
        match place {
            Place::Shelf => match name {
                LATEST => latest(options, &calendar),
                _ => own(options).into_iter().find(|(own, _)| *own == name).map(|(_, node)| node),
            },
            Place::Points => {
                let point = name.parse::<PointId>().ok()?;
                Some(top(options, point, calendar.point(&point)?))
            }
            Place::ByTime => {
                let point = find(calendar.by_time(), name)?;
                Some(to_point(options, &calendar, BY_TIME, name, &point))
            }
            Place::ByPolicy => calendar.policy(name).map(|_| policy(options, name)),
            Place::Policy(of) => {
                let rows = calendar.policy(of)?;
                if name == LATEST {
                    return newest(options, &calendar, of, rows);
                }
                let point = find(rows.rows(), name)?;
                Some(to_point(options, &calendar, (of, "../.."), name, &point))
            }
            Place::Pointer { .. } | Place::Entry { .. } => None,
        }
    }

    /// What is at a place of one of its directories.
    pub(super) fn child(
        &self,
        options: &Options,
        calendar: &Calendar,
        place: &Place,
        at: u64,
    ) -> Option<Child> {
        let at = usize::try_from(at).ok()?;
        let child = |name: &str, node| Child { name: name.as_bytes().to_vec(), node };
        match place {
            Place::Shelf => {
                let own = own(options);
                match own.get(at) {
                    Some((name, node)) => Some(child(name, node.clone())),
                    None if at == own.len() => Some(child(LATEST, latest(options, calendar)?)),
                    None => None,
                }
            }
            Place::Points => {
                let (point, time) = calendar.points().get(at)?;
                Some(child(&point.to_string(), top(options, *point, *time)))
            }
            Place::ByTime => {
                let (name, point) = calendar.by_time().get(at)?;
                Some(child(name, to_point(options, calendar, BY_TIME, name, point)))
            }
            Place::ByPolicy => {
                let name = calendar.policies().nth(at)?;
                Some(child(name, policy(options, name)))
            }
            Place::Policy(of) => {
                let policy = calendar.policy(of)?;
                match policy.rows().get(at) {
                    Some((name, point)) => {
                        let of = (&**of, "../..");
                        Some(child(name, to_point(options, calendar, of, name, point)))
                    }
                    None if at == policy.rows().len() => {
                        Some(child(LATEST, newest(options, calendar, of, policy)?))
                    }
                    None => None,
                }
            }
            Place::Pointer { .. } | Place::Entry { .. } => None,
        }
    }
}

/// The directories that are always there.
fn own(options: &Options) -> [(&'static str, Node); 3] {
    let node = |place| Node { place, attributes: entries::directory(options) };
    [
        ("by-policy", node(Place::ByPolicy)),
        ("by-time", node(Place::ByTime)),
        ("points", node(Place::Points)),
    ]
}

fn top(options: &Options, point: PointId, time: Timestamp) -> Node {
    let place = Place::Entry { point, path: Arc::from(*b"/"), group: None };
    Node { place, attributes: entries::top(options, time) }
}

fn policy(options: &Options, name: &str) -> Node {
    Node { place: Place::Policy(name.into()), attributes: entries::directory(options) }
}

fn latest(options: &Options, calendar: &Calendar) -> Option<Node> {
    let point = calendar.latest()?;
    let time = calendar.point(point)?;
    Some(pointer(options, LATEST.to_owned(), format!("points/{point}"), time))
}

fn newest(options: &Options, calendar: &Calendar, of: &str, policy: &Policy) -> Option<Node> {
    let target = policy.newest()?;
    let point = find(policy.rows(), target)?;
    let time = calendar.point(&point)?;
    Some(pointer(options, format!("{of}/{LATEST}"), target.to_owned(), time))
}

/// A link from a directory, by its name and the way up from it to where all points are.
fn to_point(
    options: &Options,
    calendar: &Calendar,
    (of, up): (&str, &str),
    name: &str,
    point: &PointId,
) -> Node {
    let time = calendar.point(point).unwrap_or(options.since);
    pointer(options, format!("{of}/{name}"), format!("{up}/points/{point}"), time)
}

fn pointer(options: &Options, of: String, target: String, time: Timestamp) -> Node {
    let attributes = entries::pointer(options, time, &target);
    Node { place: Place::Pointer { of: of.into(), target: target.into() }, attributes }
}

const LATEST: &str = "latest";
const BY_TIME: (&str, &str) = ("by-time", "..");
const REFRESH: Duration = Duration::from_secs(limits::MOUNT_REFRESH_SECS);
const REFRESH_MAX: Duration = Duration::from_secs(limits::MOUNT_REFRESH_SECS_MAX);
const LOOKS_SHARE: u32 = 10;
