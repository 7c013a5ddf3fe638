//! Sockets: the listener, TLS, one task a connection, and what a body may know and do about the connection under it.

use std::io::{Error, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};

use crate::answer;
use crate::journal::Journal;
use crate::tls::Tls;

/// What hyper may hold of an HTTP/1.1 answer that the socket does not take. With the socket's own buffers it bounds how
/// far the mock runs ahead of a reader that has stopped.
const WRITE_BUFFER: usize = 64 * 1024;

/// How a mock is set up. `Default` is cleartext HTTP/1.1 and HTTP/2 on a free loopback port.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// 0 takes a free one.
    pub port: u16,
    /// Serve TLS with a certificate for `127.0.0.1` and `localhost`, signed by an authority made at the start.
    pub tls: bool,
    /// Where to write that authority's certificate (PEM).
    pub ca_out: Option<PathBuf>,
    /// Ask clients for a certificate and answer 401 to provider requests without one (the control endpoints stay open).
    /// A fit one is served at `/_mock/client.pem`.
    pub client_certificates: bool,
    pub protocol: Protocol,
    /// The limit of concurrent HTTP/2 streams that is announced to clients.
    pub max_concurrent_streams: Option<u32>,
    /// The folder of conformance cases that `case=` replays.
    pub cases: Option<PathBuf>,
    /// The size of the sockets' send buffers (`SO_SNDBUF`): a small one makes back-pressure show early.
    pub send_buffer: Option<u32>,
    /// For [`serve`]: end when standard input closes, so that no mock outlives the test run that started it.
    pub exit_with_stdin: bool,
}

/// The HTTP versions that a mock speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Any,
    Http1,
    Http2,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub options: Options,
    pub journal: Arc<Journal>,
    pub tls: Option<Tls>,
    pub address: SocketAddr,
}

impl Shared {
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }
}

/// Binds the listener and starts to serve on the current runtime, until the sender of `stop` is dropped.
pub(crate) fn start(options: Options, stop: watch::Receiver<()>) -> Result<Arc<Shared>> {
    let socket = TcpSocket::new_v4()?;
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(size)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], options.port)))?;
    let listener = socket.listen(4096)?;
    let tls = options.tls.then(|| Tls::new(&options)).transpose()?;
    if let (Some(path), Some(tls)) = (&options.ca_out, &tls) {
        std::fs::write(path, tls.ca_pem())?;
    }
    let address = listener.local_addr()?;
    let shared = Arc::new(Shared { options, journal: Arc::new(Journal::new()), tls, address });
    tokio::spawn(accept(listener, Arc::clone(&shared), stop));
    Ok(shared)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stop: watch::Receiver<()>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors: wait for one rather than spin.
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let (shared, mut stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            let number = shared.journal.connection_opened();
            let killed = Arc::new(Notify::new());
            tokio::select! {
                () = connection(stream, number, &shared, &killed) => {}
                () = killed.notified() => {}
                _ = stop.changed() => {}
            }
            shared.journal.connection_closed();
        });
    }
}

async fn connection(stream: TcpStream, number: u64, shared: &Arc<Shared>, killed: &Arc<Notify>) {
    // Loopback sockets take the option; a peer that is already gone shows at the first read.
    let _ = stream.set_nodelay(true);
    let mut connection = Connection {
        number,
        tls: false,
        client_certificate: false,
        reset: Arc::new(AtomicBool::new(false)),
        killed: Arc::clone(killed),
        flush: Arc::default(),
    };
    let wire = Wire { stream, reset: Arc::clone(&connection.reset), flush: Arc::clone(&connection.flush) };
    let Some(tls) = &shared.tls else {
        return http(wire, connection, shared).await;
    };
    let Ok(stream) = tls.acceptor().accept(wire).await else {
        return;
    };
    connection.tls = true;
    connection.client_certificate = stream.get_ref().1.peer_certificates().is_some();
    http(stream, connection, shared).await;
}

async fn http<S>(stream: S, connection: Connection, shared: &Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = Arc::new(connection);
    let service = service_fn(|request| answer::answer(Arc::clone(shared), Arc::clone(&connection), request));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(WRITE_BUFFER).header_read_timeout(None);
    builder.http2().max_concurrent_streams(shared.options.max_concurrent_streams).max_send_buf_size(WRITE_BUFFER);
    let builder = match shared.options.protocol {
        Protocol::Any => builder,
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
    };
    // An error here is a client that left or a fault that was asked for; both are in the journal.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// The connection that a request came on.
#[derive(Debug)]
pub(crate) struct Connection {
    pub number: u64,
    pub tls: bool,
    pub client_certificate: bool,
    reset: Arc<AtomicBool>,
    killed: Arc<Notify>,
    flush: Arc<Flush>,
}

impl Connection {
    /// Closes the connection with a TCP reset; on HTTP/2 all its streams go.
    pub(crate) fn reset(&self) {
        self.reset.store(true, SeqCst);
        self.killed.notify_one();
    }

    /// Ready once the HTTP/1.1 connection has handed everything it holds to the socket.
    pub(crate) fn poll_flushed(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.flush.state();
        if let FlushState::Flushed = *state {
            *state = FlushState::Idle;
            return Poll::Ready(());
        }
        *state = FlushState::Awaited(context.waker().clone());
        Poll::Pending
    }
}

/// Tells a body when what it gave has reached the socket.
#[derive(Debug, Default)]
struct Flush(Mutex<FlushState>);

#[derive(Debug, Default)]
enum FlushState {
    #[default]
    Idle,
    Awaited(Waker),
    Flushed,
}

impl Flush {
    fn state(&self) -> MutexGuard<'_, FlushState> {
        self.0.lock().expect("no code panics while it holds the state")
    }

    fn done(&self) {
        let mut state = self.state();
        if let FlushState::Awaited(waker) = &*state {
            waker.wake_by_ref();
            *state = FlushState::Flushed;
        }
    }
}

/// The TCP socket, watched for flushes and closed the way that was asked for.
#[derive(Debug)]
struct Wire {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
    flush: Arc<Flush>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.load(SeqCst) {
            // Without lingering, closing sends RST. Should it fail, the client sees an early end instead.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// HTTP/1.1 flushes its socket only when it holds nothing any more.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            self.flush.done();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Runs a mock in the foreground: prints its address as the first line, then serves until the process is killed, or
/// until standard input closes if `exit_with_stdin` is set.
pub async fn serve(options: Options) -> Result<()> {
    use std::io::Write;
    let watch_stdin = options.exit_with_stdin;
    let (_running, stop) = watch::channel(());
    let shared = start(options, stop)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}", shared.url())?;
    stdout.flush()?;
    if !watch_stdin {
        return std::future::pending().await;
    }
    let (closed, stdin_closed) = tokio::sync::oneshot::channel();
    // A thread of its own: a read that blocks must not hold up the runtime's end.
    std::thread::spawn(move || {
        // An error is an end, too.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        closed.send(())
    });
    stdin_closed.await.map_err(Error::other)
}
