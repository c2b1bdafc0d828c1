//! Memory and processor time of a process, as the system counts them.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;

/// The system counts processor time in hundredths of a second for programs to read.
const TICKS_PER_SECOND: u64 = 100;

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
