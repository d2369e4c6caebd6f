//! One attachment: a stream of orders down, a stream of reports up, until either side ends it.

use super::desk::{Desk, End, Work};
use super::order;
use crate::line::Whereabouts;
use crate::pipeline::Counts;
use holdfast_common::{Code, Error, Result, RunId, limits};
use holdfast_wire::v1::agent_control_client::AgentControlClient;
use holdfast_wire::v1::agent_order::Order;
use holdfast_wire::v1::agent_report::Report;
use holdfast_wire::{
    parse,
    status::{bare, from_status},
    v1,
};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;

type Orders = Streaming<v1::AgentOrder>;

/// Serves the line until it is lost (`Err`), or until everything is drained after the shutdown.
pub(super) async fn attach(
    channel: Channel,
    desk: &Arc<Desk>,
    whereabouts: &Whereabouts,
    shutdown: &CancellationToken,
    attached: impl FnOnce(),
) -> Result<()> {
    let (reports, outgoing) = mpsc::channel(REPORTS_MAX);
    let runs = desk.known().iter().map(id_bytes).collect();
    let told = desk.host.told.newest();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let hello = v1::AgentHello { version, runs, told, process: Some(desk.process), verifies: true };
    send(&reports, Report::Hello(hello)).await?;
    let mut client = AgentControlClient::new(channel)
        .max_decoding_message_size(limits::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::MESSAGE_BYTES_MAX);
    let answer = timeout(ATTACH_TIMEOUT, client.attach(ReceiverStream::new(outgoing))).await;
    let mut orders = answer
        .map_err(|_| unreachable("no answer in time"))?
        .map_err(|status| from_status(&status))?
        .into_inner();
    let welcome = timeout(ATTACH_TIMEOUT, next(&mut orders)).await;
    let (heartbeat, takes_ends) = match welcome.map_err(|_| unreachable("no welcome in time"))?? {
        Order::Welcome(welcome) => {
            whereabouts.learn(&welcome.endpoints);
            desk.host.told.hear(welcome.told.as_ref());
            (Duration::from_millis(welcome.heartbeat_ms.max(100)), welcome.takes_ends)
        }
        _ => return Err(Error::new(Code::InternalBug, "the first order is not a welcome")),
    };
    attached();
    let (told, told_ends) = (HashMap::new(), HashSet::new());
    let mut line = Line { desk, whereabouts, reports, takes_ends, told, told_ends };
    line.serve(&mut orders, heartbeat, shutdown).await?;
    // Letting the reports end lets the other side end; what was sent last is read by then.
    drop(line);
    drop(timeout(CLOSE_TIMEOUT, async { while next(&mut orders).await.is_ok() {} }).await);
    Ok(())
}

struct Line<'a> {
    desk: &'a Arc<Desk>,
    whereabouts: &'a Whereabouts,
    reports: mpsc::Sender<v1::AgentReport>,
    /// Whether each end is answered; an older coordinator is told once, and that is all.
    takes_ends: bool,
    /// What was last told of each run.
    told: HashMap<RunId, Counts>,
    /// Told on this line and not taken yet.
    told_ends: HashSet<RunId>,
}

impl Line<'_> {
    async fn serve(
        &mut self,
        orders: &mut Orders,
        heartbeat: Duration,
        shutdown: &CancellationToken,
    ) -> Result<()> {
        let mut progress = every(PROGRESS_INTERVAL);
        let mut heartbeat = every(heartbeat);
        let mut drained_by: Option<Instant> = None;
        loop {
            self.tell_ends().await?;
            if drained_by.is_some() && self.desk.is_idle() {
                return Ok(());
            }
            tokio::select! {
                order = next(orders) => self.take(order?, drained_by.is_some()),
                _ = progress.tick() => self.tell_progress().await?,
                _ = heartbeat.tick() => {
                    send(&self.reports, Report::Heartbeat(v1::Heartbeat {})).await?;
                }
                () = self.desk.ended.notified() => {}
                () = shutdown.cancelled(), if drained_by.is_none() => {
                    self.desk.interrupt_all();
                    drained_by = Some(Instant::now() + super::DRAIN_PATIENCE);
                }
                () = drained(drained_by) => {
                    return Ok(());
                }
            }
        }
    }

    fn take(&mut self, order: Order, draining: bool) {
        match order {
            Order::StartBackup(_) | Order::StartRestore(_) | Order::StartVerify(_) if draining => {}
            Order::StartBackup(order) => {
                let run = parse::run_id(&order.run_id);
                self.start(run, order::backup(order).map(Work::Backup));
            }
            Order::StartRestore(order) => {
                let run = parse::run_id(&order.run_id);
                self.start(run, order::restore(order).map(Work::Restore));
            }
            Order::StartVerify(order) => {
                let run = parse::run_id(&order.run_id);
                self.start(run, order::verify(&order).map(Work::Verify));
            }
            Order::CancelRun(order) => match parse::run_id(&order.run_id) {
                Ok(run) => self.desk.cancel(&run),
                Err(error) => tracing::warn!(%error, "an order was not understood"),
            },
            Order::EndTaken(order) => match parse::run_id(&order.run_id) {
                Ok(run) => self.forget_end(&run),
                Err(error) => tracing::warn!(%error, "an order was not understood"),
            },
            // Said again when the members changed.
            Order::Welcome(welcome) => {
                self.whereabouts.learn(&welcome.endpoints);
                self.desk.host.told.hear(welcome.told.as_ref());
            }
        }
    }

    fn start(&self, run: Result<RunId>, work: Result<Work>) {
        match (work, run) {
            (Ok(work), _) => self.desk.start(work),
            (Err(error), Ok(run)) => self.desk.refuse(run, error),
            (Err(error), Err(_)) => tracing::warn!(%error, "an order was not understood"),
        }
    }

    async fn tell_ends(&mut self) -> Result<()> {
        for end in self.desk.ends() {
            let End { run, error, restored } = &*end;
            if !self.told_ends.insert(*run) {
                continue;
            }
            self.told.remove(run);
            let (error, restored) = (error.as_ref().map(bare), restored.clone());
            let ended = v1::RunEnded { run_id: id_bytes(run), error, restored };
            send(&self.reports, Report::Ended(ended)).await?;
            if !self.takes_ends {
                self.forget_end(run);
            }
        }
        Ok(())
    }

    fn forget_end(&mut self, run: &RunId) {
        self.desk.end_taken(run);
        self.told_ends.remove(run);
    }

    async fn tell_progress(&mut self) -> Result<()> {
        for (run, counts) in self.desk.progress() {
            if self.told.insert(run, counts) == Some(counts) {
                continue;
            }
            let progress = v1::RunProgress {
                run_id: id_bytes(&run),
                entries: counts.entries,
                bytes_read: counts.bytes_read,
                bytes_new: counts.bytes_new,
                bytes_stored: counts.bytes_stored,
                skipped: counts.skipped,
            };
            send(&self.reports, Report::Progress(progress)).await?;
        }
        Ok(())
    }
}

async fn next(orders: &mut Orders) -> Result<Order> {
    loop {
        let order = orders.message().await.map_err(|status| from_status(&status))?;
        let order = order.ok_or_else(|| unreachable("the coordinator ended the line"))?;
        // An order of a kind that only newer agents know is not for us.
        if let Some(order) = order.order {
            return Ok(order);
        }
    }
}

async fn send(reports: &mpsc::Sender<v1::AgentReport>, report: Report) -> Result<()> {
    let report = v1::AgentReport { report: Some(report) };
    reports.send(report).await.map_err(|_| unreachable("the line was lost"))
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn id_bytes(run: &RunId) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(run.as_bytes())
}

fn unreachable(cause: &str) -> Error {
    Error::new(Code::ClusterUnreachable, "the line to the coordinator is lost").cause(cause)
}

const REPORTS_MAX: usize = 64;
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
const ATTACH_TIMEOUT: Duration = Duration::from_secs(15);
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Ends when the patience with running work does; never while none was set.
async fn drained(by: Option<Instant>) {
    match by {
        Some(by) => sleep_until(by).await,
        None => std::future::pending().await,
    }
}
