//! From a thread that reads a manifest to the task that answers: rows in batches, in order, a few
//! at a time.
//!
//! Reading blocks; the command's own task stays free to hear signals. When it stops, the thread's
//! next batch has nowhere to go and the thread ends.

use crate::output::Output;
use holdfast_common::{Code, Error, Result, limits};
use holdfast_runtime::Tasks;
use serde_json::{Map, Value};
use tokio::sync::mpsc::{Sender, channel};

const BATCHES_MAX: usize = 2;

/// Where the thread puts its rows.
pub struct Rows<T> {
    batch: Vec<T>,
    out: Sender<Vec<T>>,
}

impl<T> Rows<T> {
    pub fn push(&mut self, row: T) -> Result<()> {
        self.batch.push(row);
        if self.batch.len() >= limits::LIST_PAGE_ROWS { self.flush() } else { Ok(()) }
    }

    /// Hands over what there is, without waiting for a full batch.
    pub fn flush(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = core::mem::take(&mut self.batch);
        let stopped = |_| Error::new(Code::RunCancelled, "nobody waits for more");
        self.out.blocking_send(batch).map_err(stopped)
    }
}

/// Runs `produce` on a thread and gives every batch to `consume` here.
pub async fn through<T: Send + 'static>(
    kind: &'static str,
    produce: impl FnOnce(&mut Rows<T>) -> Result<()> + Send + 'static,
    mut consume: impl FnMut(Vec<T>) -> Result<()>,
) -> Result<()> {
    let tasks = Tasks::new(kind);
    let (out, mut batches) = channel(BATCHES_MAX);
    let reading = tasks.run_blocking(kind, move || {
        let mut rows = Rows { batch: Vec::new(), out };
        produce(&mut rows)?;
        rows.flush()
    });
    let answering = async {
        while let Some(batch) = batches.recv().await {
            consume(batch)?;
        }
        Ok(())
    };
    let (read, answered) = tokio::join!(reading, answering);
    // The reader's own error says more than that its rows were no longer wanted.
    answered.and(read)
}

/// One object per batch in JSON, one line per row otherwise; without rows one empty object.
pub async fn answer<T: Send + 'static>(
    output: &Output,
    list: &str,
    more: Map<String, Value>,
    produce: impl FnOnce(&mut Rows<T>) -> Result<()> + Send + 'static,
    fields: impl Fn(&T) -> Value,
    line: impl Fn(&T) -> String,
) -> Result<u64> {
    let mut count = 0;
    let object = |rows: Vec<Value>| {
        let mut object = more.clone();
        object.insert(list.to_owned(), rows.into());
        output.object(Value::Object(object))
    };
    through("reader", produce, |batch| {
        count += batch.len() as u64;
        if output.is_json() {
            return object(batch.iter().map(&fields).collect());
        }
        output.line(&batch.iter().map(&line).collect::<Vec<_>>().join("\n"))
    })
    .await?;
    if count == 0 && output.is_json() {
        object(Vec::new())?;
    }
    Ok(count)
}
