# The service, the simulator and every other verb in one image: `docker run … offers <verb>`.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --profile dist --locked --bin offers && cp target/dist/offers /offers
# Three quarters of the program are for debuggers.
RUN objcopy --only-keep-debug /offers /offers.debug \
    && objcopy --strip-all --add-gnu-debuglink=/offers.debug /offers

# For a backtrace or a profile with names: `docker build --target debug --output . .` writes offers.debug, to be put
# beside the program.
FROM scratch AS debug
COPY --from=build /offers.debug /

FROM debian:bookworm-slim
# Certificates: the activation system and partners' callbacks are reached over TLS.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /nonexistent offers
COPY --from=build /offers /usr/local/bin/offers
USER offers
EXPOSE 8080 9100
ENTRYPOINT ["offers"]
CMD ["serve"]
