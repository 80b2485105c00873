//! A call over a real socket: what is on the wire, and addresses with a path.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::fly::{Fly, FlyError, Hosts, Token, resources::IpKind};

fn fly(machines: String) -> Result<Fly, FlyError> {
    let hosts = Hosts {
        machines,
        ..Hosts::default()
    };
    Fly::new(Token::parse("FlyV1 fm2_a,fm2_b").unwrap(), &hosts)
}

#[tokio::test]
async fn a_call_is_plain_http() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let fly = fly(format!("http://{}/fly/", listener.local_addr().unwrap())).unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"{\"type\":\"v6\"}") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(answer).await.unwrap();
        String::from_utf8(request).unwrap()
    };
    let (request, outcome) = tokio::join!(serve, fly.assign_ip("site", IpKind::V6));
    outcome.unwrap();
    assert!(request.starts_with("POST /fly/v1/apps/site/ip_assignments HTTP/1.1\r\n"));
    for header in [
        "authorization: FlyV1 fm2_a,fm2_b\r\n",
        "accept: application/json\r\n",
        "content-type: application/json\r\n",
        "content-length: 13\r\n",
        "user-agent: onsave/",
    ] {
        assert!(request.contains(header), "{header} is not in {request}");
    }
}

#[test]
fn what_is_no_address_is_refused() {
    for url in [
        "",
        "api.machines.dev",
        "ftp://x",
        "https://x/?a=b",
        "https://",
    ] {
        let error = fly(url.into()).unwrap_err();
        assert!(matches!(error, FlyError::BadHost { .. }), "{url}");
        assert!(error.hint().unwrap().contains("FLY_FLAPS_BASE_URL"));
    }
}
