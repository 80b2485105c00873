//! How the site is served, and within which bounds: from flags and variables to checked values.

use super::{Arguments, MOST_AT_ONCE, settings::Source};
use crate::config::{Fallback, Limits, SecurityHeaders, Serving, Timeouts};

impl Arguments {
    pub(super) fn serving(&self, source: &mut Source<'_>) -> Serving {
        let default = Serving::default();
        let single_page = self.single_page.as_deref();
        let security_headers = self.security_headers.as_deref();
        Serving {
            trailing_slash: source.value(
                self.trailing_slash.as_deref(),
                "trailing-slash",
                "TRAILING_SLASH",
                default.trailing_slash,
            ),
            fallback: if source.value(single_page, "single-page", "SINGLE_PAGE", false) {
                Fallback::SinglePage
            } else {
                Fallback::NotFoundPage
            },
            asset_grace: source.seconds_or_none(
                self.asset_grace_seconds.as_deref(),
                "ASSET_GRACE_SECONDS",
                default.asset_grace,
            ),
            security_headers: if source.value(
                security_headers,
                "security-headers",
                "SECURITY_HEADERS",
                true,
            ) {
                SecurityHeaders::Default
            } else {
                SecurityHeaders::Off
            },
            cache_bytes: source.count(
                self.cache_bytes.as_deref(),
                "CACHE_BYTES",
                default.cache_bytes,
            ),
        }
    }

    pub(super) fn limits(&self, source: &mut Source<'_>) -> Limits {
        let Limits {
            connections,
            streams,
            head_bytes,
            v1_body_bytes,
            v1_bodies,
            changeset_bytes,
            frame_header_bytes,
            file_bytes,
            files,
            failures_per_minute,
        } = Limits::default();
        let limits = Limits {
            connections: source.count(
                self.max_connections.as_deref(),
                "MAX_CONNECTIONS",
                connections,
            ),
            streams: source.count(self.max_streams.as_deref(), "MAX_STREAMS", streams),
            head_bytes: source.count(self.max_head_bytes.as_deref(), "MAX_HEAD_BYTES", head_bytes),
            v1_body_bytes: source.count(
                self.max_v1_body_bytes.as_deref(),
                "MAX_V1_BODY_BYTES",
                v1_body_bytes,
            ),
            v1_bodies: source.count(self.max_v1_bodies.as_deref(), "MAX_V1_BODIES", v1_bodies),
            changeset_bytes: source.count(
                self.max_changeset_bytes.as_deref(),
                "MAX_CHANGESET_BYTES",
                changeset_bytes,
            ),
            frame_header_bytes,
            file_bytes: source.count(self.max_file_bytes.as_deref(), "MAX_FILE_BYTES", file_bytes),
            files: source.count(self.max_files.as_deref(), "MAX_FILES", files),
            failures_per_minute: source.count(
                self.max_failures_per_minute.as_deref(),
                "MAX_FAILURES_PER_MINUTE",
                failures_per_minute,
            ),
        };
        for (variable, at_once) in [
            ("MAX_CONNECTIONS", limits.connections),
            ("MAX_V1_BODIES", limits.v1_bodies),
        ] {
            if at_once > MOST_AT_ONCE {
                source
                    .faults
                    .push(format!("{variable} can be at most {MOST_AT_ONCE}"));
            }
        }
        if limits.head_bytes < 8 * 1024 {
            source
                .faults
                .push("MAX_HEAD_BYTES has to be at least 8192".into());
        }
        limits
    }

    pub(super) fn timeouts(&self, source: &mut Source<'_>) -> Timeouts {
        let defaults = Timeouts::default();
        Timeouts {
            head: source.seconds(self.head_seconds.as_deref(), "HEAD_SECONDS", defaults.head),
            body_idle: source.seconds(
                self.body_idle_seconds.as_deref(),
                "BODY_IDLE_SECONDS",
                defaults.body_idle,
            ),
            keep_alive: source.seconds(
                self.keep_alive_seconds.as_deref(),
                "KEEP_ALIVE_SECONDS",
                defaults.keep_alive,
            ),
            drain: source.seconds(
                self.drain_seconds.as_deref(),
                "DRAIN_SECONDS",
                defaults.drain,
            ),
            ..defaults
        }
    }
}
