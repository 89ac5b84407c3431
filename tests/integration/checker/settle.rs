//! The end of a run: waits until all has been told, and compares.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::Instant;

use super::{
    Run,
    fold::{Differences, Fold},
    people::Person,
    truth::ChannelTruth,
};

/// Compares every folded state with fresh queries, and these with what was asked for, until nothing differs, something is
/// lost for good, or the time is up; gives what is wrong then.
pub(super) async fn settle(run: &Run, asker: &Person, folds: &[Arc<Mutex<Fold>>]) -> Vec<String> {
    let end = Instant::now() + run.plan.settling;
    loop {
        let asking = run.channels.iter().map(|channel| ChannelTruth::fetch(asker, channel, &run.observed));
        let truths: Result<Vec<_>, _> = join_all(asking).await.into_iter().collect();
        let truths: Vec<_> = match truths {
            Ok(truths) => truths.into_iter().map(|(_, truth)| truth).collect(),
            Err(error) => return vec![format!("no query at the end: {error}")],
        };
        let mut differences = Differences::default();
        for fold in folds {
            let fold = fold.lock().unwrap();
            for (channel, truth) in run.channels.iter().zip(&truths) {
                differences.add(fold.compare(channel, truth));
            }
        }
        let mut wrong: Vec<String> = truths.iter().flat_map(ChannelTruth::contradictions).collect();
        {
            let ledger = run.ledger.lock().unwrap();
            for (channel, truth) in run.channels.iter().zip(&truths) {
                wrong.extend(ledger.check(channel, truth));
            }
            wrong.extend(ledger.check_reactions(&truths.iter().collect::<Vec<_>>()));
        }
        if differences.is_empty() && wrong.is_empty() {
            return Vec::new();
        }
        if !differences.lost.is_empty() || Instant::now() > end {
            let Differences { lost, missing, stale, members, .. } = differences;
            wrong.extend(lost);
            wrong.extend(missing.into_iter().map(|text| format!("still not told: {text}")));
            wrong.extend(stale);
            wrong.extend(members);
            return wrong;
        }
        // Whoever came in late may have thousands of threads to ask for.
        let asking = folds.iter().filter(|fold| fold.lock().unwrap().cursor().is_none()).count();
        run.say(format!(
            "{} differences, {} contradictions yet, {asking} subscribers still ask for all that there is",
            differences.count(),
            wrong.len()
        ));
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
