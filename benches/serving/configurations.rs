//! The peers' configurations: each as its manual says for static files, with one worker, no access
//! log, and connections that are kept.

use std::{fs, net::SocketAddr, path::Path};

/// Returns nginx's configuration.
pub(crate) fn nginx(address: SocketAddr, root: &Path, own: &Path) -> String {
    // Root would be given up for a user who may not read the temporary folder; others cannot
    // change who they are.
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let (root, own) = (root.display(), own.display());
    format!(
        "daemon off; worker_processes 1; pid {own}/pid; error_log stderr crit; {user}
load_module /usr/lib/nginx/modules/ngx_http_brotli_static_module.so;
events {{ worker_connections 1024; }}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 300;
    keepalive_requests 1000000000;
    open_file_cache max=100000 inactive=300s;
    open_file_cache_valid 60s;
    open_file_cache_min_uses 1;
    open_file_cache_errors on;
    brotli_static on;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    server {{
        listen {address};
        root {root};
        index index.html;
        error_page 404 /404.html;
    }}
}}
"
    )
}

/// Returns Caddy's configuration. It writes no access log unless it is told to.
pub(crate) fn caddy(address: SocketAddr, root: &Path) -> String {
    let (ip, port, root) = (address.ip(), address.port(), root.display());
    format!(
        "{{
    admin off
    auto_https off
}}
http://:{port} {{
    bind {ip}
    root * {root}
    file_server {{
        precompressed br gzip
    }}
    handle_errors {{
        rewrite * /404.html
        file_server
    }}
}}
"
    )
}

/// Returns lighttpd's configuration. It compresses by itself, once, and keeps what it compressed.
pub(crate) fn lighttpd(address: SocketAddr, root: &Path, own: &Path) -> String {
    let cache = own.join("deflate");
    fs::create_dir_all(&cache).expect("the folder is there");
    let (root, cache) = (root.display(), cache.display());
    let (ip, port) = (address.ip(), address.port());
    // 0 requests would mean no kept connection; the largest number is 65535.
    format!(
        "server.modules = ( \"mod_deflate\" )
server.bind = \"{ip}\"
server.port = {port}
server.document-root = \"{root}\"
server.event-handler = \"linux-sysepoll\"
server.network-backend = \"sendfile\"
server.max-fds = 4096
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 300
server.errorfile-prefix = \"{root}/\"
index-file.names = ( \"index.html\" )
deflate.cache-dir = \"{cache}\"
deflate.allowed-encodings = ( \"br\", \"gzip\" )
deflate.mimetypes = ( \"text/html\", \"text/css\", \"text/javascript\" )
deflate.params = ( \"BROTLI_PARAM_QUALITY\" => 11 )
mimetype.assign = (
    \".html\" => \"text/html; charset=utf-8\",
    \".css\" => \"text/css; charset=utf-8\",
    \".js\" => \"text/javascript; charset=utf-8\",
    \".jpg\" => \"image/jpeg\",
    \"\" => \"application/octet-stream\"
)
"
    )
}

/// Returns the flags of static-web-server. It logs no requests at this level, and starts one worker
/// for each core that it may use.
pub(crate) fn static_web_server(address: SocketAddr, root: &Path) -> Vec<String> {
    let pairs = [
        ("--host", address.ip().to_string()),
        ("--port", address.port().to_string()),
        ("--root", root.display().to_string()),
        ("--page404", root.join("404.html").display().to_string()),
        ("--log-level", "error".to_owned()),
        ("--threads-multiplier", "1".to_owned()),
        ("--compression", "false".to_owned()),
        ("--compression-static", "true".to_owned()),
    ];
    pairs
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect()
}
