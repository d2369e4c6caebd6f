//! What can be asked for.

use crate::tool::PeerName;
use std::path::PathBuf;

#[derive(clap::Parser)]
#[command(name = "holdfast-bench", about = "Holdfast beside its peers, on made-up data")]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make the data set in a new directory
    Generate {
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// 1 is about 2.5 GB
        #[arg(long, default_value_t = 1.0)]
        scale: f64,
    },
    /// Change a data set in place, as a day's work does; says what as JSON
    Change {
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        #[arg(long, default_value_t = 2)]
        seed: u64,
    },
    /// Make one directory with very many small files
    Flat {
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[arg(long, default_value_t = 1_000_000)]
        files: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measure Holdfast and its peers side by side and write a report
    Run(RunOptions),
    /// Measure what three members on loopback commit, and how long none does when the leader is
    /// killed, and write a report
    ///
    /// Commands per second and latency of closed loops, then the time from SIGKILL of the leader to
    /// the next committed write. Synced to disk, TLS with client certificates. The sides take
    /// turns. Needs the holdfast beside this program, and etcd: bench/setup etcd
    Ledger(LedgerOptions),
    /// Measure how long a member with very many rows takes to start, and another to join it, and
    /// write a part of the report
    ///
    /// The rows come by the commands that make real ones, some minutes before anything is measured.
    LedgerRows(RowsOptions),
    /// Measure what further copies cost a backup, and how far behind they are, and write a report
    Copies(CopiesOptions),
    /// Measure Holdfast's memory over sets of several sizes and shapes and write a report
    Memory(MemoryOptions),
    /// Measure rounds of collection, and backups beside them, in a vault of many chunks and points,
    /// and write a report
    ///
    /// Every point is made by a backup: the default size takes hours and some 60 GB. Needs root, to
    /// drop the kernel's caches, and the peers: bench/setup restic,rustic
    Collection(CollectionOptions),
    /// What each stage must cost over a data set, on one core, and what it costs in a backup
    Stages {
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

#[derive(clap::Args)]
pub struct LedgerOptions {
    /// One of the sides, by its name; may be repeated [default: all]
    #[arg(long = "side", value_name = "NAME")]
    pub sides: Vec<String>,
    /// How many clients send at once, each with its own connection
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    pub clients: Vec<usize>,
    /// How many commands are measured, one number for each of --clients
    #[arg(long, value_delimiter = ',', default_value = "1000,8000,20000")]
    pub counts: Vec<u64>,
    /// Bytes of a command
    #[arg(long, value_delimiter = ',', default_value = "256,4096")]
    pub payloads: Vec<usize>,
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Of the leader, for each side, in all rounds together
    #[arg(long, default_value_t = 50)]
    pub kills: usize,
    /// Of the leader under a backup, in all rounds together
    #[arg(long, default_value_t = 10)]
    pub backup_kills: usize,
    /// How long a client waits for a write before it asks the next member, in the kills
    #[arg(long, default_value_t = 100)]
    pub attempt_ms: u64,
    /// Its directory `ledger` is emptied first, and removed at the end
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub work: PathBuf,
    #[arg(long, value_name = "FILE", default_value = "bench/LEDGER.md")]
    pub report: PathBuf,
    /// A remark for the head of the report; may be repeated
    #[arg(long)]
    pub note: Vec<String>,
}

#[derive(clap::Args)]
pub struct RowsOptions {
    /// Each with a run a day
    #[arg(long, default_value_t = 200)]
    pub agents: u64,
    /// Of fourteen rows for each agent: a million in all
    #[arg(long, default_value_t = 360)]
    pub days: u64,
    /// How often the member is killed and started, and then stopped and started
    #[arg(long, default_value_t = 3)]
    pub starts: usize,
    /// Its directory `ledger` is emptied first, and removed at the end
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub work: PathBuf,
    #[arg(long, value_name = "FILE", default_value = "bench/LEDGER.md")]
    pub report: PathBuf,
    /// A remark for the head of this part; may be repeated
    #[arg(long)]
    pub note: Vec<String>,
}

#[derive(clap::Args)]
pub struct CopiesOptions {
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Emptied first, and again at the end; needs about three times the data
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub work: PathBuf,
    #[arg(long, value_name = "FILE", default_value = "bench/COPIES.md")]
    pub report: PathBuf,
}

#[derive(clap::Args)]
pub struct MemoryOptions {
    /// Of the large set; 10 needs 40 GB
    #[arg(long, default_value_t = 10.0)]
    pub scale: f64,
    /// In one directory
    #[arg(long, default_value_t = 1_000_000)]
    pub files: u64,
    /// Emptied first, and again at the end
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub work: PathBuf,
    #[arg(long, value_name = "FILE", default_value = "bench/MEMORY.md")]
    pub report: PathBuf,
}

#[derive(clap::Args)]
pub struct CollectionOptions {
    /// About as many, all points together
    #[arg(long, default_value_t = 10_000_000)]
    pub chunks: u64,
    #[arg(long, default_value_t = 1000)]
    pub points: u64,
    /// Of a round alone, and one with a backup beside it
    #[arg(long, default_value_t = 3)]
    pub pairs: u64,
    /// Those that can prune; none with an empty list
    #[arg(long, value_delimiter = ',', default_value = "restic,rustic", num_args = 0..)]
    pub peers: Vec<PeerName>,
    /// Chunks of the vault that is beside the peers' repositories
    #[arg(long, default_value_t = 300_000)]
    pub peer_files: u64,
    /// Its directory `collection` is emptied first, and removed at the end
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub work: PathBuf,
    /// Where bench/setup put what it built
    #[arg(long, value_name = "DIR", default_value = "target/bench-peers/bin")]
    pub peer_bin: PathBuf,
    #[arg(long, value_name = "FILE", default_value = "bench/COLLECTION.md")]
    pub report: PathBuf,
    /// A remark for the head of the report; may be repeated
    #[arg(long)]
    pub note: Vec<String>,
}

#[derive(clap::Args)]
pub struct RunOptions {
    #[arg(long, value_delimiter = ',', default_value = "restic,borg,rustic")]
    pub peers: Vec<PeerName>,
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Emptied first, and again at the end; needs about four times the data
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    pub work: PathBuf,
    /// The holdfast to measure [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    pub holdfast: Option<PathBuf>,
    /// Where bench/setup put what it built
    #[arg(long, value_name = "DIR", default_value = "target/bench-peers/bin")]
    pub peer_bin: PathBuf,
    #[arg(long, value_name = "FILE", default_value = "bench/RESULTS.md")]
    pub report: PathBuf,
    /// The raw numbers
    #[arg(long, value_name = "FILE", default_value = "target/bench-results.json")]
    pub raw: PathBuf,
    /// A remark for the head of the report; may be repeated
    #[arg(long)]
    pub note: Vec<String>,
}
