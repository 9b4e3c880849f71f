# An image with Provium and its default guest: docker build -t provium .
FROM debian:bookworm AS build
COPY . /src
RUN apt-get update && apt-get install -y --no-install-recommends dpkg-dev debhelper && \
    apt-get build-dep -y /src && /src/scripts/deb

FROM debian:bookworm
COPY --from=build /src/build/deb/provium_*.deb /tmp/
RUN apt-get update && apt-get install -y --no-install-recommends /tmp/provium_*.deb qemu-utils && \
    PROVIUM_GUEST_DIR=/usr/share/provium/guest provium setup && \
    rm -rf /tmp/provium_*.deb /usr/share/provium/guest/download /var/lib/apt/lists/*
WORKDIR /src
CMD ["provium", "test"]
