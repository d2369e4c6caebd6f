//! Where the cluster's members are, as the cluster last said.
//!
//! Every welcome tells it, and `agent.toml` keeps it, so that an agent whose host slept through a
//! change finds the members that are left. A name that a person wrote down (of a load balancer,
//! say) stays; an address of a member that is not told any more goes.

use crate::options::AgentConfig;
use std::net::SocketAddr;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

#[derive(Debug)]
pub struct Whereabouts {
    endpoints: Mutex<Vec<String>>,
    /// With which of them to begin.
    first: AtomicUsize,
    kept: Option<AgentConfig>,
}

impl Whereabouts {
    /// For whoever does not stay long enough to hear of a change.
    pub fn fixed(endpoints: Vec<String>) -> Arc<Self> {
        Arc::new(Self { endpoints: Mutex::new(endpoints), first: AtomicUsize::new(0), kept: None })
    }

    /// Kept in the file that the configuration came from.
    pub fn kept(config: &AgentConfig) -> Arc<Self> {
        let endpoints = Mutex::new(config.endpoints.clone());
        Arc::new(Self { endpoints, first: AtomicUsize::new(0), kept: Some(config.clone()) })
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, beginning with the one that it is the turn of.
    pub(crate) fn in_turn(&self) -> Vec<String> {
        let mut endpoints = self.endpoints();
        let first = self.first.load(Relaxed) % endpoints.len().max(1);
        endpoints.rotate_left(first);
        endpoints
    }

    /// The one that answered first could not help, being cut off from the others, say.
    pub(crate) fn next_turn(&self) {
        self.first.fetch_add(1, Relaxed);
    }

    /// What the cluster says now; nothing, from a cluster that does not say.
    pub(crate) fn learn(&self, told: &[String]) {
        let mut known = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        let now = merged(&known, told);
        if told.is_empty() || now == *known {
            return;
        }
        known.clone_from(&now);
        drop(known);
        let Some(config) = &self.kept else { return };
        if let Some(file) = &config.file
            && let Err(error) = (AgentConfig { endpoints: now, ..config.clone() }).save(file)
        {
            tracing::warn!(%error, "where the cluster is now could not be written down");
        }
    }
}

fn merged(known: &[String], told: &[String]) -> Vec<String> {
    let mut now = told[..told.len().min(ENDPOINTS_MAX)].to_vec();
    let names = known.iter().filter(|one| one.parse::<SocketAddr>().is_err());
    for name in names.filter(|one| !told.contains(one)).take(ENDPOINTS_MAX) {
        now.push(name.clone());
    }
    now
}

const ENDPOINTS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn list(endpoints: &[&str]) -> Vec<String> {
        endpoints.iter().map(|one| (*one).to_owned()).collect()
    }

    #[test]
    fn names_stay_and_addresses_follow_the_cluster() {
        let known = list(&["10.0.0.1:7", "backup.clinic.example:7", "[::1]:7"]);
        let told = list(&["10.0.0.2:7", "10.0.0.3:7"]);
        let now = list(&["10.0.0.2:7", "10.0.0.3:7", "backup.clinic.example:7"]);
        assert_eq!(merged(&known, &told), now);
        assert_eq!(merged(&now, &told), now);
    }

    #[test]
    fn each_has_its_turn() {
        let whereabouts = Whereabouts::fixed(list(&["a:1", "b:2", "c:3"]));
        assert_eq!(whereabouts.in_turn(), list(&["a:1", "b:2", "c:3"]));
        whereabouts.next_turn();
        assert_eq!(whereabouts.in_turn(), list(&["b:2", "c:3", "a:1"]));
        (0..2).for_each(|_| whereabouts.next_turn());
        assert_eq!(whereabouts.in_turn(), whereabouts.endpoints());
        assert!(Whereabouts::fixed(Vec::new()).in_turn().is_empty());
    }

    #[test]
    fn a_cluster_that_says_nothing_changes_nothing() {
        let whereabouts = Whereabouts::fixed(list(&["10.0.0.1:7"]));
        whereabouts.learn(&[]);
        assert_eq!(whereabouts.endpoints(), list(&["10.0.0.1:7"]));
        whereabouts.learn(&list(&["10.0.0.9:7"]));
        assert_eq!(whereabouts.endpoints(), list(&["10.0.0.9:7"]));
    }
}
