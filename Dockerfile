# syntax=docker/dockerfile:1

FROM rust:1.95-bookworm AS build
WORKDIR /src
# What the build reads, and nothing else: neither target/ nor node_modules/ need a .dockerignore then.
COPY Cargo.toml Cargo.lock ./
COPY entities entities
COPY migration migration
COPY chat chat
COPY graphql graphql
# Not built, but a member of the workspace.
COPY bench bench
COPY src src
COPY web/dist web/dist
# The caches outlive the build, so that a second one compiles only what changed.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin quikapp && cp target/release/quikapp /usr/local/bin/quikapp

FROM debian:bookworm-slim
# Certificates for stores and object stores that are reached over TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /data quikapp
COPY --from=build /usr/local/bin/quikapp /usr/local/bin/quikapp
USER quikapp
# Files on the local disk and, without servers, the database.
WORKDIR /data
VOLUME /data
ENV DATA_DIR=/data LISTEN=0.0.0.0:8000
EXPOSE 8000
CMD ["quikapp"]
