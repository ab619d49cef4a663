//! What the peers' configurations say about the way to the origin. Headers are those that tollgate sets, and buffers
//! are as large as its own may be.

use super::super::scenario::Upstream;

const NGINX_PROXY: &str = "proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;";
const NGINX_GRPC: &str = "grpc_pass grpc://origin;
            grpc_set_header Host $host;
            grpc_set_header X-Real-IP $remote_addr;
            grpc_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            grpc_set_header X-Forwarded-Proto $scheme;";
const NGINX_KEPT: &str = "proxy_set_header Connection \"\";";
const NGINX_UPGRADE: &str = "proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 300s;";
/// Bodies pass as they come, through 256 KiB, and never by way of a file.
const NGINX_BODIES: &str = "client_max_body_size 0;
            client_body_buffer_size 256k;
            proxy_request_buffering off;
            proxy_buffer_size 32k;
            proxy_buffers 8 32k;
            proxy_busy_buffers_size 64k;
            proxy_max_temp_file_size 0;";

/// The lines of nginx's location.
pub(super) fn nginx(upstream: Upstream) -> String {
    let lines: &[&str] = match upstream {
        Upstream::Web => &[NGINX_PROXY, NGINX_KEPT],
        Upstream::Stream => &[NGINX_PROXY, NGINX_KEPT, "proxy_buffering off;"],
        Upstream::Grpc => &[NGINX_GRPC],
        Upstream::Echo => &[NGINX_PROXY, NGINX_UPGRADE],
        Upstream::Bodies => &[NGINX_PROXY, NGINX_KEPT, NGINX_BODIES],
    };
    lines.iter().map(|line| format!("            {line}\n")).collect()
}

/// HAProxy's global lines: a stream has two buffers, so each may be half of 256 KiB.
pub(super) const fn haproxy_global(upstream: Upstream) -> &'static str {
    match upstream {
        Upstream::Bodies => "    tune.bufsize 131072",
        Upstream::Web | Upstream::Stream | Upstream::Grpc | Upstream::Echo => "",
    }
}

/// What HAProxy's server line ends in.
pub(super) const fn haproxy_server(upstream: Upstream) -> &'static str {
    match upstream {
        Upstream::Grpc => "proto h2",
        Upstream::Web | Upstream::Stream | Upstream::Echo | Upstream::Bodies => "",
    }
}
