//! Connections: with time limits for slow clients, and an end that lets running requests finish.

use std::{future::Future, io, net::SocketAddr, sync::Arc, thread::available_parallelism, time::Duration};

use hyper::{
    body::Incoming,
    server::conn::http1::Builder,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    app::{App, router},
    arrival::Arrival,
    http::{Cut, Peer},
    limits::Limits,
    pace::Paced,
};

/// Connections that may wait to be accepted, as far as the system allows so many. Of those beyond, the system forgets some that the
/// client takes for open; with the library's 128 that begins when a few hundred clients come back at once.
const WAITING_CONNECTIONS: u32 = 4_096;

/// Connections that are accepted between two pauses, for each processor.
const IN_A_ROW: usize = 2;
/// How long the others wait then, where they cost nothing: so at most some 1,000 are accepted in a second for each processor,
/// and those who are there keep their pace while a thousand clients come back at once.
const PAUSE: Duration = Duration::from_millis(1);

/// Listens on `address`.
///
/// # Errors
/// When the address is taken, is none of this machine, or may not be listened on.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // So that a server can start again while connections of the one before are still ending. On Windows it means something else.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(WAITING_CONNECTIONS)
}

/// Serves `app` on `listener` until `shutdown` ends; then closes sockets with 1001 and lets running requests finish for up to
/// [`Limits::shutdown_grace`].
pub async fn serve(listener: TcpListener, app: Arc<App>, shutdown: impl Future<Output = ()>) {
    let service = TowerToHyperService::new(router(Arc::clone(&app)));
    let builder = builder(&app.settings.limits);
    let places = Arc::new(Semaphore::new(app.settings.limits.connections.min(Semaphore::MAX_PERMITS)));
    tokio::pin!(shutdown);
    let mut in_a_row = 0;
    let most_in_a_row = IN_A_ROW * available_parallelism().map_or(1, usize::from);
    loop {
        if in_a_row == most_in_a_row {
            tokio::time::sleep(PAUSE).await;
            in_a_row = 0;
        }
        // Without a place new connections wait in the system's queue until one ends.
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            Ok((listener.accept().await?, place))
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = next => accepted,
        };
        match accepted {
            Ok(((stream, address), place)) => {
                in_a_row += 1;
                let (app, builder, service) = (Arc::clone(&app), builder.clone(), service.clone());
                let connection = connect(stream, Peer(address), app.clone(), builder, service, place);
                tokio::spawn(app.tasks.track_future(connection));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                // Most likely no file descriptor is left; some are given back in a moment.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    app.shutdown.cancel();
    app.tasks.close();
    if tokio::time::timeout(app.settings.limits.shutdown_grace, app.tasks.wait()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
}

async fn connect(
    stream: TcpStream,
    peer: Peer,
    app: Arc<App>,
    builder: Builder,
    service: TowerToHyperService<axum::Router>,
    place: OwnedSemaphorePermit,
) {
    // Small messages are sent at once.
    let _ = stream.set_nodelay(true);
    let cut = Cut::default();
    let given = cut.clone();
    // A WebSocket keeps its place when this is done.
    let arrival = Arrival::default();
    let stream = Paced::new(stream, app.settings.limits.write_timeout, place, arrival.clone());
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(given.clone());
        request.extensions_mut().insert(arrival.clone());
        service.call(request)
    });
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    let running = async {
        tokio::select! {
            result = connection.as_mut() => result,
            () = app.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let result = tokio::select! {
        result = running => result,
        () = cut.made() => {
            tracing::debug!(peer = %peer.0, "a peer that took nothing was cut off");
            return;
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, peer = %peer.0, "a connection ended");
    }
}

// HTTP/1 only. Browsers speak HTTP/2 only over TLS, which ends at a proxy in front; and a server that tells the two apart waits for
// the first bytes of a connection without a time limit.
fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.head_bytes)
        // For the answer to an upgrade, see `http::get`.
        .preserve_header_case(true)
        .keep_alive(true);
    builder
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::future::try_join_all;

    use super::*;

    #[tokio::test]
    async fn hundreds_may_come_at_once() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let coming = try_join_all((0..400).map(|_| TcpStream::connect(address)));
        let clients = tokio::time::timeout(Duration::from_secs(20), coming).await.unwrap().unwrap();
        let accepting = try_join_all(clients.iter().map(|_| listener.accept()));
        let accepted = tokio::time::timeout(Duration::from_secs(20), accepting).await.unwrap().unwrap();
        let of = |address: &SocketAddr| accepted.iter().any(|(_, peer)| peer == address);
        assert!(clients.iter().all(|client| of(&client.local_addr().unwrap())));
    }
}
