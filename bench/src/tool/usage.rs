//! What a command cost.

use serde::Serialize;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    pub wall_seconds: f64,
    /// User and system, of every process that took part.
    pub cpu_seconds: f64,
    /// The peak resident sizes of every process that took part, added up.
    pub peak_bytes: u64,
    /// The share of each process, where there is more than one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    pub process: &'static str,
    pub cpu_seconds: f64,
    pub peak_bytes: u64,
}

impl Usage {
    /// Adds what another process spent on the same work.
    pub fn add(&mut self, part: Part) {
        self.cpu_seconds += part.cpu_seconds;
        self.peak_bytes += part.peak_bytes;
        self.parts.push(part);
    }

    /// From `time -f "%U %S %M"`: seconds, seconds, KiB. A failed command has a line before it.
    pub fn parse(wall_seconds: f64, told: &str) -> Option<Self> {
        let mut words = told.lines().last()?.split(' ');
        let user: f64 = words.next()?.parse().ok()?;
        let system: f64 = words.next()?.parse().ok()?;
        let peak_kib: u64 = words.next()?.parse().ok()?;
        let (cpu_seconds, peak_bytes) = (user + system, peak_kib << 10);
        Some(Self { wall_seconds, cpu_seconds, peak_bytes, parts: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_time_tells_is_read_whole_or_not_at_all() {
        let usage = Usage {
            wall_seconds: 9.0,
            cpu_seconds: 1.75,
            peak_bytes: 2048 << 10,
            ..Usage::default()
        };
        assert_eq!(Usage::parse(9.0, "1.50 0.25 2048\n"), Some(usage.clone()));
        assert_eq!(Usage::parse(9.0, "Command exited\n1.50 0.25 2048\n"), Some(usage));
        assert_eq!(Usage::parse(9.0, "1.50 0.25\n"), None);
        assert_eq!(Usage::parse(9.0, ""), None);
    }

    #[test]
    fn what_other_processes_spent_is_added_and_kept_apart() {
        let mut usage = Usage::parse(9.0, "1.50 0.25 2048").unwrap();
        usage.add(Part { process: "agent", cpu_seconds: 2.0, peak_bytes: 5 << 20 });
        assert_eq!((usage.cpu_seconds, usage.peak_bytes), (3.75, 7 << 20));
        assert_eq!(usage.parts[0].process, "agent");
    }
}
