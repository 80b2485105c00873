# The image of onsave-server, for people who want to build one. `onsave` itself needs neither this file
# nor Docker: it makes the same image from a static program and pushes it.
#
#   docker build -t onsave-server .
#   docker run -d -p 8080:8080 -v site:/srv -e SYNC_SECRET onsave-server
#
# On Fly, whose volumes belong to root:
#
#   fly deploy --build-arg RUN_AS=0:0

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
COPY . .
# A named target keeps the flag away from build scripts and macros, which cannot be static. The
# program goes out in the same step: a cache's folder is gone after it.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    TARGET="$(rustc --print host-tuple)" && \
    RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --release --locked -p onsave-server --target "$TARGET" && \
    mkdir -p /image/srv && \
    cp "target/$TARGET/release/onsave-server" /image/

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
