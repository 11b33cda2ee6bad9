# The connector as an image: built from source, run by nobody in particular, with
# PostgreSQL for those who give it no DATABASE_URL.
ARG BUILDER_IMAGE=docker.io/library/rust:1.95-bookworm
ARG RUNTIME_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BUILDER_IMAGE} AS builder
WORKDIR /source
COPY . .
RUN cargo build --release --locked --bin apono-connector

FROM ${RUNTIME_IMAGE} AS runtime
# The embedded server is made in the state directory, not by the package.
# hadolint ignore=DL3008
RUN mkdir -p /etc/postgresql-common/createcluster.d \
    && echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/connector.conf \
    && apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates postgresql \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --home-dir /var/lib/apono-connector --shell /usr/sbin/nologin connector \
    && install -d -o connector -g connector -m 755 /var/lib/apono-connector
COPY --from=builder /source/target/release/apono-connector /usr/local/bin/apono-connector

USER 10001
# What must outlive the container, unless DATABASE_URL names a database.
VOLUME /var/lib/apono-connector
EXPOSE 8443 8080
ENV APONO__LOG__FORMAT=json
# SIGTERM drains for at most 25 seconds: stop with a longer grace (docker stop -t 30).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["apono-connector", "healthcheck"]
ENTRYPOINT ["apono-connector"]
CMD ["run"]
