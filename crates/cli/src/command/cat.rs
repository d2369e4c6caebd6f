//! `holdfast cat POINT PATH`: one file of a point, to stdout, byte for byte. It stops at the first
//! byte that cannot be had; nothing wrong is ever written.

use crate::{
    command::ls,
    demand::Demand,
    ending::Ending,
    opening::{Opened, PointArguments},
    output::path,
    walk,
};
use holdfast_common::{Code, Error, Result};
use holdfast_seal::manifest::entry::EntryKind;
use std::{ffi::OsString, os::unix::ffi::OsStringExt};

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    point: PointArguments,
    path: OsString,
}

pub async fn perform(arguments: Arguments, demand: &Demand<'_>) -> Result<Ending> {
    let opened = arguments.point.open("restore", demand).await?;
    let wanted = ls::trimmed(arguments.path.into_vec());
    let produce = move |rows: &mut walk::Rows<Vec<u8>>| content(&opened, &wanted, rows);
    let write =
        |pieces: Vec<Vec<u8>>| pieces.iter().try_for_each(|piece| demand.output.bytes(piece));
    walk::through("cat", produce, write).await?;
    Ok(Ending::Done)
}

fn content(opened: &Opened, wanted: &[u8], rows: &mut walk::Rows<Vec<u8>>) -> Result<()> {
    let entry = opened.manifest().get(wanted)?.ok_or_else(|| ls::missing(wanted))?;
    if entry.kind != EntryKind::File {
        return Err(Error::new(
            Code::FileTypeUnsupported,
            format!("`{}` is not a file", path::text(wanted)),
        )
        .next("restore it with `holdfast restore`"));
    }
    opened.read(&entry, &mut |piece| {
        rows.push(piece.to_vec())?;
        rows.flush()
    })
}

pub const EXAMPLES: &str = "\
Examples:
  holdfast cat latest /etc/hosts
  holdfast cat 1f0c2a9b /srv/db.sql | psql";
