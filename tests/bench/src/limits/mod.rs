//! Limit programs: the least that a server must do to keep the same promise. They say what the machine can.
//!
//! L1 reads the body and answers. L2 stores the body as one row and answers after the commit. L3 answers after
//! its row too, then calls the sink with the product's own HTTP client and stores a second row. They know
//! nothing of flows. They do not change in a commit that reports a figure.

mod writer;

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use aura_integrations::http::{EgressPolicy, Http, HttpRequest};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use writer::Rows;

/// Calls at the same time, as many as `aurad` has by default (`calls_max`).
const CALLS: usize = 64;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Limit {
    /// Echo.
    L1,
    /// One row.
    L2,
    /// Row, call, row.
    L3,
}

/// Where and with what it runs.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Which one.
    #[arg(value_enum)]
    pub limit: Limit,
    /// Address to listen on; the address taken is printed.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Directory of the database (L2, L3).
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
    /// Address that L3 calls.
    #[arg(long)]
    pub call: Option<String>,
}

/// What the program does with a request.
enum Work {
    Echo,
    Row(Rows),
    RowCallRow { rows: Rows, http: Http, url: String, calls: Arc<Semaphore> },
}

/// Serves until the process ends.
///
/// # Errors
/// Address taken, no directory, or the database cannot be made.
pub fn serve(settings: &Settings) -> Result<()> {
    let rows = || {
        let folder = settings.data_dir.as_deref().context("this limit program needs --data-dir")?;
        Rows::open(&folder.join("limit.redb"))
    };
    let work = match settings.limit {
        Limit::L1 => Work::Echo,
        Limit::L2 => Work::Row(rows()?),
        Limit::L3 => {
            let url = settings.call.clone().context("L3 needs --call")?;
            let policy = EgressPolicy { allow_loopback: true, ..EgressPolicy::default() };
            let Ok(http) = Http::new(policy) else { bail!("the HTTP client cannot start") };
            Work::RowCallRow { rows: rows()?, http, url, calls: Arc::new(Semaphore::new(CALLS)) }
        }
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(accept(settings.listen, Arc::new(work)))
}

async fn accept(listen: SocketAddr, work: Arc<Work>) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("{listen} is taken"))?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let work = Arc::clone(&work);
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let work = Arc::clone(&work);
                async move { Ok::<_, Infallible>(answer(&work, request).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(work: &Work, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let Ok(body) = request.into_body().collect().await else { return response(StatusCode::BAD_REQUEST) };
    let body = body.to_bytes();
    match work {
        Work::Echo => {}
        Work::Row(rows) => {
            if rows.store(body).await.is_err() {
                return response(StatusCode::SERVICE_UNAVAILABLE);
            }
        }
        Work::RowCallRow { rows, http, url, calls } => {
            if rows.store(body.clone()).await.is_err() {
                return response(StatusCode::SERVICE_UNAVAILABLE);
            }
            let (rows, http, url, calls) = (rows.clone(), http.clone(), url.clone(), Arc::clone(calls));
            tokio::spawn(async move {
                let Ok(_permit) = calls.acquire_owned().await else { return };
                let request = HttpRequest {
                    method: "POST".to_owned(),
                    url,
                    headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                    body: effect(&body),
                    timeout: Duration::from_secs(30),
                    redirects: 0,
                };
                if let Ok(answer) = http.send(request, &AtomicBool::new(false)).await {
                    let _ = rows.store(Bytes::from(answer.body)).await;
                }
            });
        }
    }
    response(StatusCode::OK)
}

/// What W2 sends to the sink, with the id cut out of the payload.
fn effect(body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let id = text.split('"').nth(3).unwrap_or_default();
    format!(r#"{{"id":"{id}","route":"high","total":200,"a":1,"b":2}}"#).into_bytes()
}

fn response(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"ok":true}"#)));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effect_carries_the_id_of_the_payload() {
        let body = effect(crate::payload::payload("tag", 42).as_bytes());
        assert_eq!(crate::payload::number("tag", &body), Some(42));
    }
}
