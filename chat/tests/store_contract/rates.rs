//! How fast grouped inserts are. Prints; holds nobody to a number but a very low one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    fixture::Subject,
    samples::{all_of, channel, message},
};

const CHANNELS: usize = 8;
const GROUP: i64 = 256;

pub(crate) async fn grouped_inserts(subject: &Subject) {
    let groups: i64 =
        std::env::var("CONTRACT_GROUPS").ok().and_then(|groups| groups.parse().ok()).unwrap_or(2);
    let mut prepared = Vec::new();
    for _ in 0..CHANNELS {
        let key = channel();
        let group = |group: i64| -> Vec<_> {
            (group * GROUP + 1..=(group + 1) * GROUP)
                .map(|tick| {
                    let mut message = message(key, tick);
                    message.text = format!("message {tick} {}", "as long as people write ".repeat(4));
                    message.client_message_id = Some(format!("client-{tick}"));
                    message
                })
                .collect()
        };
        prepared.push((key, (0..groups).map(group).collect::<Vec<_>>()));
    }
    let begun = Instant::now();
    let writers: Vec<_> = prepared
        .into_iter()
        .map(|(key, groups)| {
            let store = Arc::clone(&subject.store);
            tokio::spawn(async move {
                for group in groups {
                    assert_eq!(store.insert(key, &group).await, Ok(all_of(group.len())));
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let took = begun.elapsed();
    let count = groups * GROUP * i64::try_from(CHANNELS).unwrap();
    println!("{count} messages in {took:?}: {} µs each", took.as_micros() / u128::try_from(count).unwrap());
    assert!(took < Duration::from_mins(1));
}
