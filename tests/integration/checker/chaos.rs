//! Lets things go wrong as the plan says, and makes them well again.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    task::JoinSet,
};

use super::{Run, cluster::Cluster, plan::Fault};

/// What is broken at the moment is locked, so that it is not broken twice.
struct Locks {
    nodes: Vec<Arc<Mutex<()>>>,
    mongo: Arc<Mutex<()>>,
    redis: Arc<Mutex<()>>,
}

/// Does everything that the plan has in store; returns when all is well again.
pub(super) async fn unfold(run: Arc<Run>, cluster: Arc<Cluster>) {
    let mut random = StdRng::seed_from_u64(run.plan.seed ^ 0xC4A0);
    let locks = Locks {
        nodes: (0..cluster.len()).map(|_| Arc::default()).collect(),
        mongo: Arc::default(),
        redis: Arc::default(),
    };
    let mut repairs = JoinSet::new();
    for (point, fault) in run.plan.faults.clone() {
        while run.done.load(Ordering::SeqCst) < point {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let time = Duration::from_millis(random.random_range(50..run.plan.longest_outage));
        match fault {
            Fault::KillNode | Fault::PauseNode => {
                let (index, lock) = some_node(&locks, &mut random).await;
                run.say(format!("{fault:?} {index} for {time:?}"));
                let (cluster, run) = (Arc::clone(&cluster), Arc::clone(&run));
                repairs.spawn(async move {
                    if fault == Fault::KillNode {
                        cluster.kill(index);
                        tokio::time::sleep(time).await;
                        cluster.restart(index).await;
                    } else {
                        cluster.node(index).signal("STOP");
                        tokio::time::sleep(time).await;
                        cluster.node(index).signal("CONT");
                    }
                    run.say(format!("node {index} is back"));
                    drop(lock);
                });
            }
            Fault::KillPrimary => {
                let lock = Arc::clone(&locks.mongo).lock_owned().await;
                let Some(name) = primary(&cluster).await else { continue };
                spawn_store_fault(&mut repairs, (name, time), (&run, &cluster), lock);
            }
            Fault::KillRedis => {
                let lock = Arc::clone(&locks.redis).lock_owned().await;
                spawn_store_fault(&mut repairs, ("redis".into(), time), (&run, &cluster), lock);
            }
            Fault::FlushRedis => {
                let _lock = locks.redis.lock().await;
                run.say(format!("{fault:?}"));
                cluster.flush().await.unwrap();
            }
            Fault::CutAll => {
                run.say(format!("{fault:?}"));
                let _ = run.cuts.send(());
            }
        }
    }
    while let Some(repaired) = repairs.join_next().await {
        repaired.unwrap();
    }
}

/// A node that is well; waits for one.
async fn some_node(locks: &Locks, random: &mut StdRng) -> (usize, OwnedMutexGuard<()>) {
    loop {
        let index = random.random_range(0..locks.nodes.len());
        if let Ok(lock) = Arc::clone(&locks.nodes[index]).try_lock_owned() {
            return (index, lock);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The primary of MongoDB, once there is one.
async fn primary(cluster: &Cluster) -> Option<String> {
    cluster.set.as_ref()?;
    loop {
        if let Some(name) = cluster.primary().await {
            return Some(name);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn spawn_store_fault(
    repairs: &mut JoinSet<()>,
    (name, time): (String, Duration),
    (run, cluster): (&Arc<Run>, &Arc<Cluster>),
    lock: OwnedMutexGuard<()>,
) {
    let (run, cluster) = (Arc::clone(run), Arc::clone(cluster));
    repairs.spawn(async move {
        let Some(set) = &cluster.set else { return };
        run.say(format!("{name} is killed, for {time:?}"));
        set.kill(&name).await;
        tokio::time::sleep(time).await;
        set.start(&name).await;
        run.say(format!("{name} is back"));
        drop(lock);
    });
}
