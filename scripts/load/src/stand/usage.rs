//! Memory and processor time of a process, as the system counts them.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

/// The system counts processor time in hundredths of a second for programs to read.
const TICKS_PER_SECOND: u64 = 100;
const POSTGRES: &str = "postgres";

/// Of one process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// In memory now.
    pub resident_bytes: u64,
    /// The most that ever was.
    pub peak_bytes: u64,
    /// Used so far, by the program and by the system for it.
    pub processor: Duration,
}

impl Usage {
    /// Of the process `id`.
    pub fn of(id: u32) -> anyhow::Result<Self> {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}"));
        Self::parse(&read("status")?, &read("stat")?).context("/proc says something unknown")
    }

    fn parse(status: &str, stat: &str) -> Option<Self> {
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        // The name, in brackets, may hold anything. Behind it: the state is field 3, the times are 14 and 15.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let ticks = ticks()? + ticks()?;
        Some(Self {
            resident_bytes: kilobytes("VmRSS:")? * 1024,
            peak_bytes: kilobytes("VmHWM:")? * 1024,
            processor: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
        })
    }
}

/// Processor time of everybody who takes part, from one moment to another.
#[derive(Debug)]
pub struct Spending {
    processes: Vec<(&'static str, u32)>,
    before: Vec<Duration>,
}

impl Spending {
    /// From now on: of these processes, of this one, and of the stores whose ids the script has left in
    /// `LOAD_REDIS_PID` and `LOAD_POSTGRES_PID`.
    pub fn of(services: &[(&'static str, u32)]) -> anyhow::Result<Self> {
        let mut processes = services.to_vec();
        for (name, variable) in [("redis", "LOAD_REDIS_PID"), (POSTGRES, "LOAD_POSTGRES_PID")] {
            processes.extend(std::env::var(variable).ok().and_then(|id| Some((name, id.parse().ok()?))));
        }
        processes.push(("this test", std::process::id()));
        let before = processes.iter().map(|(name, id)| spent_by(name, *id)).collect::<anyhow::Result<_>>()?;
        Ok(Self { processes, before })
    }

    /// What each has used since, in words.
    pub fn since(&self) -> anyhow::Result<String> {
        let mut words = Vec::new();
        for ((name, id), before) in self.processes.iter().zip(&self.before) {
            let spent = spent_by(name, *id)?.saturating_sub(*before);
            words.push(format!("{name} {:.1} s", spent.as_secs_f64()));
        }
        Ok(words.join(", "))
    }
}

/// Of a process; of a Postgres also what its children use and have used.
fn spent_by(name: &str, id: u32) -> anyhow::Result<Duration> {
    let has_family = name == POSTGRES;
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        // Who ends meanwhile is counted with its parent.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let own = entry.file_name().to_str() == Some(&*id.to_string());
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = fields.split(' ').collect();
        let number =
            |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
        // Behind the name: the parent is field 4, times are 14 and 15, those of ended children 16 and 17.
        if own {
            ticks += number(11) + number(12);
            ticks += if has_family { number(13) + number(14) } else { 0 };
        } else if has_family && number(1) == u64::from(id) {
            ticks += number(11) + number(12);
        }
    }
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t    1024 kB\n";
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0";
        let expected =
            Usage { resident_bytes: 1 << 20, peak_bytes: 2 << 20, processor: Duration::from_secs(3) };
        assert_eq!(Usage::parse(status, stat), Some(expected));
        assert!(Usage::of(std::process::id()).is_ok_and(|usage| usage.resident_bytes > 0));
    }
}
