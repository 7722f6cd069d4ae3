# syntax=docker/dockerfile:1

# --- Builder: the release binary, its symbols split off ------------------------------------------
# Debian bookworm on both sides: the binary needs no newer glibc than the final image has.
FROM docker.io/library/rust:1-bookworm AS builder
WORKDIR /src

# What changes least comes first.
COPY Cargo.toml Cargo.lock ./
COPY core core
COPY heap heap
COPY testkit testkit
COPY alarms alarms
COPY dashboards dashboards
COPY bench bench
COPY scenarios scenarios
COPY xtask xtask
COPY proxy proxy
COPY agent agent
COPY sidecar sidecar

# Packages and their compiled form outlive a change of the sources. On arm64 jemalloc must know the
# largest page size that it can meet, or it aborts on a host with larger pages than the builder's.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    if [ "$(uname -m)" = aarch64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi \
    && cargo build --locked --release --package stent --bin stent \
    && cargo build --locked --release --package stent-heap-preload \
    && mkdir -p /out/symbols \
    && cp target/release/stent /out/stent \
    && objcopy --strip-debug target/release/libstent_heap_preload.so /out/libstent_heap.so \
    && if [ -f target/release/stent.dwp ]; then cp target/release/stent.dwp /out/symbols/; fi

# --- Symbols: `docker build --target symbols --output symbols .` ---------------------------------
FROM scratch AS symbols
COPY --from=builder /out/symbols/ /

# --- Runtime: glibc, libgcc, CA certificates; no shell, no package manager ------------------------
FROM gcr.io/distroless/cc-debian12:nonroot

LABEL org.opencontainers.image.title="stent" \
      org.opencontainers.image.description="Pooling PostgreSQL proxy and leak-detecting agent, beside the application" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=builder /out/stent /usr/local/bin/stent
# For Python programs, which copy it from here: see docs/guides/heaps.md.
COPY --from=builder /src/heap/python /usr/share/stent/python
# For native heaps, preloaded into programs of glibc 2.34 or newer: see there, too.
COPY --from=builder /out/libstent_heap.so /usr/share/stent/libstent_heap.so

# A number, so that an orchestrator can see that it is not root. It is distroless's own `nonroot`.
USER 65532:65532

# 6432: PostgreSQL clients. 9187: /metrics, /livez, /readyz, /snapshot. Both are on loopback unless
# STENT_LISTEN_ADDR and STENT_ADMIN_LISTEN say otherwise: containers of one task share it.
EXPOSE 6432 9187

HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["/usr/local/bin/stent", "healthcheck"]

STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/stent"]
CMD ["up"]
