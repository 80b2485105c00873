//! What is told of requests: metrics, the access log, `Server-Timing`.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use onsave_server::{
    metrics::{Metrics, serve_metrics},
    observer::{AccessLog, AccessLogFormat},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

use crate::harness::{Answer, Connection, Request, TestServer, changeset};

/// Scrapes a server's metrics.
struct Scraped {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinSet<()>,
}

async fn observed() -> (TestServer, Scraped) {
    let metrics = Arc::new(Metrics::default());
    let shared = Arc::clone(&metrics);
    let server = TestServer::start_with(|config| config.observation.metrics = Some(shared)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let mut serving = JoinSet::new();
    serving.spawn(serve_metrics(
        listener,
        metrics,
        server.store.clone(),
        async {
            stopped.await.unwrap_or_default();
        },
    ));
    let scraped = Scraped {
        address,
        stop,
        serving,
    };
    (server, scraped)
}

impl Scraped {
    async fn send(&self, request: Request) -> Answer {
        Connection::open(self.address).await.send(request).await
    }

    /// Returns the sample whose name and labels these are.
    async fn sample(&self, name: &str) -> Option<f64> {
        let text = self.send(Request::get("/metrics")).await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().parse().unwrap())
    }

    async fn stop(mut self) {
        self.stop.send(()).unwrap();
        self.serving.join_next().await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn requests_and_publishes_are_counted() {
    let (server, scraped) = observed().await;
    let deploy = server.publish(&[("index.html", "12345")]).await;
    let mut connection = server.connect().await;
    for (method, target) in [("GET", "/"), ("HEAD", "/"), ("GET", "/none"), ("PUT", "/")] {
        connection.send(Request::new(method, target)).await;
    }
    let stale = server.send(changeset(None, &[("a", "b")])).await;
    assert_eq!(stale.status, 412);
    assert_eq!(
        server
            .send(Request::new("POST", "/_icd/rollback"))
            .await
            .status,
        401
    );
    let id = deploy.deploy_id;
    for (name, expected) in [
        (
            "onsave_http_requests_total{method=\"GET\",status=\"200\"}",
            1.0,
        ),
        (
            "onsave_http_requests_total{method=\"GET\",status=\"404\"}",
            1.0,
        ),
        (
            "onsave_http_requests_total{method=\"HEAD\",status=\"200\"}",
            1.0,
        ),
        (
            "onsave_http_requests_total{method=\"other\",status=\"405\"}",
            1.0,
        ),
        (
            "onsave_http_requests_total{method=\"other\",status=\"412\"}",
            1.0,
        ),
        (
            "onsave_publish_duration_seconds_count{kind=\"changeset\"}",
            1.0,
        ),
        (
            "onsave_publish_duration_seconds_count{kind=\"rollback\"}",
            0.0,
        ),
        ("onsave_sync_refusals_total{code=\"base_not_current\"}", 1.0),
        (
            "onsave_sync_refusals_total{code=\"missing_auth_headers\"}",
            1.0,
        ),
        (&format!("onsave_deploy_info{{deploy_id=\"{id}\"}}"), 1.0),
        ("onsave_deploy_files", 1.0),
        ("onsave_deploy_bytes", 5.0),
        ("onsave_http_requests_in_flight", 0.0),
    ] {
        assert_eq!(scraped.sample(name).await, Some(expected), "{name}");
    }
    assert!(scraped.sample("onsave_http_response_bytes_total").await > Some(5.0));
    assert!(scraped.sample("onsave_volume_free_bytes").await > Some(0.0));
    assert!(scraped.sample("process_resident_memory_bytes").await > Some(1e6));
    assert!(scraped.sample("onsave_connections_open").await >= Some(1.0));
    drop(connection);
    scraped.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn the_metrics_have_an_address_and_nothing_beside_it() {
    let (server, scraped) = observed().await;
    let answer = scraped.send(Request::get("/metrics")).await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert_eq!(scraped.send(Request::get("/")).await.status, 404);
    let answer = scraped.send(Request::new("POST", "/metrics")).await;
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("GET, HEAD"))
    );
    // The site's own port does not tell them.
    server.publish(&[("index.html", "x")]).await;
    assert_eq!(server.send(Request::get("/metrics")).await.status, 404);
    scraped.stop().await;
    server.stop().await;
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_request_has_its_line() {
    for format in [AccessLogFormat::Common, AccessLogFormat::Json] {
        let sink = Sink::default();
        let log = Arc::new(AccessLog::start(format, sink.clone()).unwrap());
        let shared = Arc::clone(&log);
        let server =
            TestServer::start_with(|config| config.observation.access_log = Some(shared)).await;
        server.publish(&[("index.html", "12345")]).await;
        let request = Request::get("/?a=%22b").header("user-agent", "a \"test\"");
        server
            .send(request.header("authorization", "a-secret"))
            .await;
        server.send(Request::new("HEAD", "/")).await;
        server.send(Request::get("/none")).await;
        server.stop().await;
        drop(log);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(
            !text.contains("secret") && !text.contains("sig1="),
            "{text}"
        );
        match format {
            AccessLogFormat::Common => {
                assert!(lines[0].contains("\"POST /_icd/changesets HTTP/1.1\" 200 "));
                assert!(lines[1].starts_with("127.0.0.1 - - ["), "{text}");
                assert!(
                    lines[1].ends_with("\"GET /?a=%22b HTTP/1.1\" 200 5 \"-\" \"a \\\"test\\\"\""),
                    "{text}"
                );
                assert!(lines[2].contains("\"HEAD / HTTP/1.1\" 200 0 "));
            }
            AccessLogFormat::Json => {
                let line: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
                assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &5.into()));
                assert_eq!(line["user_agent"], "a \"test\"");
            }
        }
        assert!(lines[3].contains("404"));
    }
}

#[tokio::test]
async fn an_answer_says_how_long_it_took_where_it_is_asked() {
    let server = TestServer::start().await;
    server.publish(&[("index.html", "x")]).await;
    assert_eq!(
        server.send(Request::get("/")).await.header("server-timing"),
        None
    );
    for target in ["/", "/none", "/_icd/health"] {
        let request = Request::get(target).header("onsave-server-timing", "1");
        let answer = server.send(request).await;
        let timing = answer.header("server-timing").unwrap();
        let milliseconds = timing.strip_prefix("total;dur=").unwrap();
        assert!(milliseconds.parse::<f64>().unwrap() > 0.0, "{timing}");
    }
    let folder = server.stop().await;
    let always = |config: &mut onsave_server::ServerConfig| {
        config.observation.server_timing = true;
    };
    let server = TestServer::start_in(folder, always).await;
    assert!(
        server
            .send(Request::get("/"))
            .await
            .header("server-timing")
            .is_some()
    );
    server.stop().await;
}
