# Two images: the server, which is what a build without a target makes, and the daemon, for a life beside
# a CMS (examples/sidecar). `onsave` itself needs neither this file nor Docker: it makes the server's
# image from a static program and pushes it.
#
#   docker build -t onsave-server .
#   docker run -d -p 8080:8080 -v site:/srv -e SYNC_SECRET onsave-server
#
#   docker build -t onsave --target daemon .
#   docker run -d -v cms-output:/site/deploy:ro -v onsave-state:/state -e FLY_API_TOKEN onsave
#
# On Fly, whose volumes belong to root:
#
#   fly deploy --build-arg RUN_AS=0:0

FROM rust:1.95-slim-bookworm AS sources
WORKDIR /build
COPY . .

FROM sources AS build
# A named target keeps the flag away from build scripts and macros, which cannot be static. The
# program goes out in the same step: a cache's folder is gone after it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    TARGET="$(rustc --print host-tuple)" && \
    RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --release --locked -p onsave-server --target "$TARGET" && \
    mkdir -p /image/srv && \
    cp "target/$TARGET/release/onsave-server" /image/

FROM sources AS build-daemon
# A static program could not look up names, which the C library does with parts that it loads.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked -p onsave && \
    mkdir -p /image/site/deploy /image/state && \
    cp target/release/onsave /image/

# The daemon beside a CMS: whatever writes the site, writes it into a volume that is mounted at
# /site/deploy. A build command of onsave.toml finds a shell here, and what it needs besides in an image
# of your own: FROM onsave, and RUN apt-get install.
FROM debian:bookworm-slim AS daemon
ARG RUN_AS=65532:65532
LABEL org.opencontainers.image.title="onsave" \
      org.opencontainers.image.version="0.1.0"
# The certificates of the authorities, to know Fly and any other server by. No version is pinned: the
# newest list is the right one.
# hadolint ignore=DL3008
RUN apt-get update && \
    apt-get install --yes --no-install-recommends ca-certificates && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build-daemon /image/onsave /usr/local/bin/onsave
# The first run on Fly pushes this one.
COPY --from=build /image/onsave-server /usr/local/bin/onsave-server
COPY --from=build-daemon --chown=${RUN_AS} /image/site /site
COPY --from=build-daemon --chown=${RUN_AS} /image/state /state
# Secrets that Compose or Swarm mount are taken by their names, `sync-secret` and `fly-token`, as those of
# systemd are. What has to outlive the container is in /state: the app's secret, what was published last,
# and the volume of the local target.
ENV HOME=/state \
    XDG_STATE_HOME=/state \
    CREDENTIALS_DIRECTORY=/run/secrets \
    ONSAVE_LOCAL_VOLUME=/state/volume \
    ONSAVE_FLY_SERVER_BINARY=/usr/local/bin/onsave-server
VOLUME ["/state"]
WORKDIR /site
USER ${RUN_AS}
STOPSIGNAL SIGTERM
# Whether the daemon answers on its socket; a server that cannot be reached is no reason to restart it.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["onsave", "status"]
ENTRYPOINT ["onsave"]
CMD ["watch"]

# The program needs nothing else: it asks no other machine (no certificates), looks up no user, writes
# times in UTC, and keeps what it stages on the volume.
FROM scratch

# Who the server runs as. A new Docker volume takes its owner from the folder that it is mounted on,
# so that a user without rights can write it. What is mounted from outside keeps its own owner: chown a
# bind mount to this user, or build with RUN_AS=0:0 for a platform such as Fly whose volumes belong to
# root. There the server is root in a virtual machine of its own, with no shell or other program in it.
ARG RUN_AS=65532:65532

LABEL org.opencontainers.image.title="onsave-server" \
      org.opencontainers.image.version="0.1.0"
COPY --from=build /image/onsave-server /onsave-server
COPY --from=build --chown=${RUN_AS} /image/srv /srv
ENV PORT=8080 \
    SITE_DATA_ROOT=/srv
EXPOSE 8080
WORKDIR /
USER ${RUN_AS}
STOPSIGNAL SIGTERM
# The check reads PORT and ADDRESS as the server does: set those rather than flags.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/onsave-server", "--health"]
ENTRYPOINT ["/onsave-server"]
