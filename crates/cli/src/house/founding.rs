//! Making a cluster, offline: what `cluster init` and the first `dev` do.

use crate::command::Custody;
use holdfast_common::{Name, Result};
use holdfast_coordinator::InitOptions;
use holdfast_keyring::KekSource;
use std::path::PathBuf;

pub struct Founding {
    pub dir: PathBuf,
    pub name: Name,
    pub region: Name,
    pub listen: String,
    pub advertise: Option<String>,
    pub locations: Vec<(Name, String)>,
    pub kek: KekSource,
    pub custody: Custody,
    pub trial: bool,
    pub level_max: Option<u32>,
}

pub async fn init(founding: Founding) -> Result<()> {
    holdfast_coordinator::init(InitOptions {
        dir: founding.dir,
        name: founding.name,
        region: founding.region,
        listen: founding.listen,
        advertise: founding.advertise,
        locations: founding.locations,
        kek: founding.kek,
        custody: match founding.custody {
            Custody::Coordinator => holdfast_keyring::Custody::Coordinator,
            Custody::Operator => holdfast_keyring::Custody::Operator,
        },
        trial: founding.trial,
        level_max: founding.level_max,
    })
    .await
}
