# The service, the simulator and every other verb in one image: `docker run … offers <verb>`.
FROM rust:1.95.0-slim-bookworm AS build
# Which commit this is, and its time in seconds since 1970: `--build-arg OFFERS_BUILD_COMMIT=$(git rev-parse --short=12 HEAD)`
# `--build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)`.
ARG OFFERS_BUILD_COMMIT=unknown
ARG SOURCE_DATE_EPOCH=0
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    deploy/release.sh /release

# For a backtrace or a profile with names, and the list of what is in the program: `docker build --target release
# --output released .` writes what deploy/release.sh makes.
FROM scratch AS release
COPY --from=build /release /

FROM scratch
COPY --from=build /release/rootfs /
USER offers
EXPOSE 8080 9100
ENTRYPOINT ["/usr/local/bin/offers"]
CMD ["serve"]
