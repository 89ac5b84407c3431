//! The bytes of a connection: peers that do not take what is written to them, and those that begin messages and do not end them.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::arrival::Arrival;

/// Bytes that a peer has to take within the time limit, so that one that takes a byte now and then does not hold an answer for ever.
const LEAST_BYTES: usize = 64 * 1024;

/// A connection whose writes fail once the peer has taken less than it was given, and less than 64 KiB, for `limit`.
pub(crate) struct Paced<S, H> {
    stream: S,
    _held: H,
    arrival: Arrival,
    limit: Duration,
    /// Runs since the peer last took all that it was given.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Since the deadline was set.
    taken: usize,
}

impl<S, H> Paced<S, H> {
    /// `held` is let go with the connection, whoever has that in the end. What is read is counted in `arrival`.
    pub(crate) fn new(stream: S, limit: Duration, held: H, arrival: Arrival) -> Self {
        Self { stream, _held: held, arrival, limit, deadline: None, taken: 0 }
    }

    fn judge(
        &mut self,
        context: &mut Context<'_>,
        given: usize,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = written {
            let taken = *result.as_ref().unwrap_or(&0);
            self.taken += taken;
            if taken == given || self.taken >= LEAST_BYTES {
                self.forget();
            }
            return Poll::Ready(result);
        }
        let limit = self.limit;
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }

    fn forget(&mut self) {
        self.deadline = None;
        self.taken = 0;
    }
}

impl<S: AsyncRead + Unpin, H: Unpin> AsyncRead for Paced<S, H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.arrival.more(buffer.filled().len() - before, Instant::now()))
    }
}

impl<S: AsyncWrite + Unpin, H: Unpin> AsyncWrite for Paced<S, H> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, bytes.len(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(context, parts.iter().map(|part| part.len()).sum(), written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (ours, _theirs) = duplex(1_000);
        let mut paced = Paced::new(ours, Duration::from_millis(100), (), Arrival::default());
        let error = paced.write_all(&[0; 5_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_few_bytes_now_and_then_are_not_enough() {
        let (ours, mut theirs) = duplex(1_000);
        let mut paced = Paced::new(ours, Duration::from_millis(300), (), Arrival::default());
        let reader = tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        });
        let error = paced.write_all(&[0; 5_000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        reader.abort();
    }

    #[tokio::test]
    async fn a_slow_peer_is_served_and_pauses_between_messages_do_not_count() {
        let limit = Duration::from_secs(1);
        let (ours, mut theirs) = duplex(LEAST_BYTES);
        let mut paced = Paced::new(ours, limit, (), Arrival::default());
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; LEAST_BYTES];
            let mut sum = 0;
            while let Ok(count @ 1..) = theirs.read(&mut buffer).await {
                sum += count;
                sleep(limit / 8).await;
            }
            sum
        });
        // In all it takes longer than the limit.
        paced.write_all(&vec![0; 12 * LEAST_BYTES]).await.unwrap();
        sleep(limit + limit / 10).await;
        paced.write_all(&[0; 10]).await.unwrap();
        drop(paced);
        assert_eq!(reader.await.unwrap(), 12 * LEAST_BYTES + 10);
    }
}
