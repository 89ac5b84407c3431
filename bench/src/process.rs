//! What processes use, from `/proc`.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use crate::failure::{Failure, Result};

/// CPU times in `/proc` count in these: `USER_HZ`, which is 100 on every platform that a server runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processes that are counted as one.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// For people.
    pub(crate) name: &'static str,
    /// Empty if it does not run on this machine.
    pub(crate) pids: Vec<u32>,
}

impl Process {
    /// The one with this id.
    pub(crate) fn new(name: &'static str, pid: u32) -> Self {
        Self { name, pids: vec![pid] }
    }

    /// This process, which plays the clients.
    pub(crate) fn client() -> Self {
        Self::new("client", std::process::id())
    }

    /// Those that listen on `ports` of this machine.
    pub(crate) fn listening(name: &'static str, ports: &[u16]) -> Self {
        Self { name, pids: ports.iter().filter_map(|port| listener(*port)).collect() }
    }

    /// CPU time so far, in seconds; none for what runs elsewhere.
    fn cpu(&self) -> Option<f64> {
        let times: Option<Vec<f64>> = self.pids.iter().map(|pid| cpu_seconds(*pid)).collect();
        times.filter(|times| !times.is_empty()).map(|times| times.iter().sum())
    }
}

fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map_while(|field| field.parse::<f64>().ok());
    Some((times.next()? + times.next()?) / TICKS_PER_SECOND)
}

/// Bytes of memory that a process holds.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1_024).ok_or_else(|| Failure::new("a process has no VmRSS"))
}

/// How many files this process, and what it starts, may have open.
pub(crate) fn open_files_limit() -> Result<u64> {
    let limits = fs::read_to_string("/proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    Ok(soft.and_then(|soft| soft.parse().ok()).unwrap_or(u64::MAX))
}

/// How many processors a process may run on.
pub(crate) fn processors(pid: u32) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    allowed
        .trim()
        .split(',')
        .map(|range| match range.split_once('-') {
            Some((first, last)) => Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1),
            None => range.parse::<usize>().ok().map(|_| 1),
        })
        .sum()
}

/// The process that listens on a TCP port of this machine, by the inode of its socket.
fn listener(port: u16) -> Option<u32> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| {
            let rows = table.lines().skip(1).filter_map(|row| {
                let fields: Vec<_> = row.split_whitespace().collect();
                let (_, local) = fields.get(1)?.rsplit_once(':')?;
                let is_listening = *fields.get(3)? == "0A";
                let is_it = is_listening && u16::from_str_radix(local, 16) == Ok(port);
                is_it.then(|| format!("socket:[{}]", fields.get(9).copied().unwrap_or_default()))
            });
            rows.collect::<Vec<_>>()
        })
        .collect();
    let pids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid: &u32| {
        let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        files
            .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
            .any(|target: std::path::PathBuf| inodes.iter().any(|inode| target == Path::new(inode)))
    })
}

/// What processes use between its start and its reading.
pub(crate) struct Meter<'p> {
    processes: &'p [Process],
    before: Vec<Option<f64>>,
    since: Instant,
}

/// What was used meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Usage {
    /// Wall-clock time.
    pub(crate) elapsed: Duration,
    /// CPU seconds by process, of those that run on this machine.
    pub(crate) cpu: Vec<(&'static str, f64)>,
}

impl<'p> Meter<'p> {
    /// Begins to measure.
    pub(crate) fn start(processes: &'p [Process]) -> Self {
        let before = processes.iter().map(Process::cpu).collect();
        Self { processes, before, since: Instant::now() }
    }

    /// What was used so far.
    pub(crate) fn read(&self) -> Usage {
        let elapsed = self.since.elapsed();
        let used = self
            .processes
            .iter()
            .zip(&self.before)
            .filter_map(|(process, before)| Some((process.name, (process.cpu()? - (*before)?).max(0.0))));
        Usage { elapsed, cpu: used.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_its_port_and_uses_time_and_memory() -> Result<()> {
        let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
        let own = std::process::id();
        assert_eq!(listener(socket.local_addr()?.port()), Some(own));
        assert!(resident_bytes(own)? > 100_000);
        assert!(processors(own) >= Some(1));

        let processes = [Process::client()];
        let meter = Meter::start(&processes);
        while meter.read().cpu.iter().all(|(_, seconds)| *seconds < 0.02) {
            assert!(meter.since.elapsed() < Duration::from_secs(30));
        }
        Ok(())
    }
}
