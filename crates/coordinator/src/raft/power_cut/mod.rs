//! The power goes while the ledger works: what was acknowledged is there, and nothing half.
//!
//! ```text
//!   test ─ cc recorder.c ─→ runs itself again (workload) under LD_PRELOAD ─→ record
//!   record ─ first n events ─→ disk (what is durable, what is pending) ─ loss ─→ a directory
//!   directory ─→ open, compare with the acknowledgements among those n events, go on working
//! ```
//!
//! The controls replay the same record on a disk that lies and must see losses, and the record
//! played to its end must give the directory itself: nothing is written past the recorder (by
//! mmap, say). `HOLDFAST_TORTURE_CUTS` asks for more cuts than a quick run makes, and
//! `HOLDFAST_SEED` for others; every story of a failure begins with what repeats it.

mod disk;
mod flips;
mod ledger;
mod log;
mod record;
mod tables;

use disk::{Disk, Loss, Syncs};
use record::Event;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

const SEED_USUAL: u64 = 0x5EED_0F0D_15C5;
const WORKLOAD: &str = "HOLDFAST_POWER_CUT_WORKLOAD";

/// What a workload works on.
struct Workplace {
    directory: PathBuf,
    acknowledgements: fs::File,
}

impl Workplace {
    fn acknowledge(&mut self, what: usize) {
        self.acknowledgements.write_all(format!("{what}").as_bytes()).unwrap();
    }
}

/// A workload's events, and the directory before and after.
struct Recording {
    before: Disk,
    events: Vec<Event>,
    after: TempDir,
}

/// What one power cut left.
struct Cut {
    story: String,
    /// The last acknowledgement before the cut.
    acknowledged: Option<usize>,
    directory: TempDir,
}

impl Recording {
    /// Records the workload of this name, on a directory prepared by `prepare`.
    fn of(workload: &str, prepare: impl FnOnce(&Path)) -> Self {
        let tools = tempfile::tempdir().unwrap();
        let recorder = tools.path().join("recorder.so");
        let mut compile = Command::new("cc");
        compile.args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-x", "c"]);
        let source = tools.path().join("recorder.c");
        fs::write(&source, include_str!("recorder.c")).unwrap();
        compile.arg(&source).arg("-o").arg(&recorder).args(["-ldl", "-lpthread"]);
        assert!(compile.status().unwrap().success(), "the recorder compiles");

        let after = tempfile::tempdir().unwrap();
        prepare(after.path());
        let before = Disk::holding(after.path());
        let record = tools.path().join("record");
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "raft::power_cut::workload"])
            .env(WORKLOAD, workload)
            .env("LD_PRELOAD", &recorder)
            .env("RECORD_DIR", after.path())
            .env("RECORD_ACK", tools.path().join("acknowledged"))
            .env("RECORD_FILE", &record)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
        Self { before, events: record::read(&record, after.path()), after }
    }

    /// Plays to `count` seeded cuts, early ones first, and shows what each leaves.
    fn cut(&self, count: usize, syncs: Syncs, mut look: impl FnMut(&Cut)) {
        let mut dice = Dice(seed());
        let mut positions: Vec<usize> =
            (0..count).map(|_| dice.below(self.events.len() + 1)).collect();
        positions.sort_unstable();
        let mut disk = self.before.clone();
        let (mut at, mut acknowledged) = (0, None);
        for (number, position) in positions.into_iter().enumerate() {
            for event in &self.events[at..position] {
                disk.happen(event, syncs);
                if let Event::Acknowledge(what) = event {
                    acknowledged = Some(what.parse().unwrap());
                }
            }
            at = position;
            let loss = LOSSES[number % LOSSES.len()];
            let story = format!(
                "{}: cut {number} of {count} after {position} of {} events, {loss:?}",
                repeat(),
                self.events.len()
            );
            let directory = tempfile::tempdir().unwrap();
            disk.cut(loss, &mut dice, directory.path());
            look(&Cut { story, acknowledged, directory });
        }
    }
}

const LOSSES: [Loss; 5] =
    [Loss::Everything, Loss::Tail, Loss::Some, Loss::Torn(512), Loss::Torn(4096)];

/// Chance that can be had again.
struct Dice(u64);

impl Dice {
    /// A number below `bound` (splitmix64).
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((word ^ (word >> 31)) % bound as u64).unwrap()
    }
}

/// How many cuts or flips a test makes: `quick`, or what the long run asks for.
fn rounds(quick: usize) -> usize {
    asked("HOLDFAST_TORTURE_CUTS").map_or(quick, |number| usize::try_from(number).unwrap())
}

fn seed() -> u64 {
    asked("HOLDFAST_SEED").unwrap_or(SEED_USUAL)
}

/// What makes the same cuts and flips again.
fn repeat() -> String {
    let cuts = asked("HOLDFAST_TORTURE_CUTS").map(|cuts| format!("HOLDFAST_TORTURE_CUTS={cuts} "));
    let (seed, cuts) = (seed(), cuts.unwrap_or_default());
    format!("HOLDFAST_SEED={seed} {cuts}cargo test -p holdfast-coordinator power_cut")
}

fn asked(name: &str) -> Option<u64> {
    let text = std::env::var_os(name)?.into_string().unwrap();
    (!text.is_empty()).then(|| text.parse().unwrap())
}

/// Every file below `directory`, by its path.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            files.extend(self::files(&entry.path()));
        } else {
            files.insert(entry.path(), fs::read(entry.path()).unwrap());
        }
    }
    files
}

/// The same below `to`.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
#[ignore = "the recorded process: the other tests here run it"]
fn workload() {
    let Some(name) = std::env::var_os(WORKLOAD) else { return };
    let path = |name: &str| PathBuf::from(std::env::var_os(name).unwrap());
    let acknowledgements = fs::File::create(path("RECORD_ACK")).unwrap();
    let workplace = Workplace { directory: path("RECORD_DIR"), acknowledgements };
    match name.to_str().unwrap() {
        "ledger" => ledger::work(workplace),
        "log" => log::work(workplace),
        "log again" => log::work_again(workplace),
        "rebuild" => ledger::rebuild(workplace),
        "tables" => tables::work(workplace),
        other => panic!("no workload is called {other}"),
    }
}

#[test]
fn a_record_played_to_its_end_gives_the_directory_byte_for_byte() {
    for workload in ["ledger", "tables"] {
        let recording = Recording::of(workload, |_| {});
        let mut disk = recording.before.clone();
        recording.events.iter().for_each(|event| disk.happen(event, Syncs::All));
        let target = tempfile::tempdir().unwrap();
        disk.cut(Loss::Nothing, &mut Dice(SEED_USUAL), target.path());
        let relative = |root: &Path| -> BTreeMap<PathBuf, Vec<u8>> {
            let within = |path: PathBuf| path.strip_prefix(root).unwrap().to_owned();
            files(root).into_iter().map(|(path, bytes)| (within(path), bytes)).collect()
        };
        let (played, real) = (relative(target.path()), relative(recording.after.path()));
        assert!(played.keys().eq(real.keys()), "{:?}\n{:?}", played.keys(), real.keys());
        for (path, bytes) in &real {
            assert!(played[path] == *bytes, "{} of {workload} differs", path.display());
        }
    }
}
