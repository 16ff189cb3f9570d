# The server, its client and peerage-model as Debian's packages would bring them: the first stage makes
# our package, the second installs it into a slim Debian, so apt chooses the libraries, dpkg knows
# all that is in the image (SBOM, scanners), and a rebuild takes Debian's security updates.
#
#   docker build -t peerage .         or, with no daemon and no registry: make image
#
# Pin the bases by digest where builds must not change: --build-arg RUNTIME_BASE=debian@sha256:...
ARG BUILD_BASE=docker.io/library/debian:bookworm-slim
ARG RUNTIME_BASE=docker.io/library/debian:bookworm-slim

FROM ${BUILD_BASE} AS build
# cpu, or cuda: then BUILD_BASE is Debian 12 with CUDA's toolkit, of which the image gets two libraries.
ARG DEVICE=cpu
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
COPY CMakePresets.json ./
COPY tools/find_nvcc.sh tools/
# Says at once what cannot be built: a device's preset is there when its build is.
RUN case "$DEVICE" in cpu) echo release ;; cuda) echo cuda ;; *) echo "?" ;; esac >/preset && \
    if ! grep -qF "\"name\": \"$(</preset)\"" CMakePresets.json; then \
      echo "DEVICE=$DEVICE: these sources have no build for that device" >&2; exit 1; \
    fi && \
    if [[ "$DEVICE" == cuda ]]; then tools/find_nvcc.sh; fi
COPY tools/setup.sh tools/
COPY tools/requirements tools/requirements
RUN tools/setup.sh programs
COPY . .
RUN --mount=type=cache,target=/root/.cache/ccache \
    cmake --preset "$(</preset)" -B /build -DBUILD_TESTING=OFF && \
    cmake --build /build && \
    cpack --config /build/CPackConfig.cmake -B /package
# What no package of Debian's brings: CUDA's runtime and cuBLASLt. Nothing, for cpu.
RUN mkdir /libraries && \
    ldd /build/bin/peerage-server | \
      sed -n 's/.*\(libcudart\|libcublasLt\)\.so\.[0-9]* => \([^ ]*\) .*/\2/p' | \
      xargs -r cp --dereference --target-directory=/libraries

FROM ${RUNTIME_BASE}
COPY --from=build /libraries/ /usr/local/lib/
RUN --mount=type=bind,from=build,source=/package,target=/package \
    apt-get update && \
    apt-get install -y --no-install-recommends /package/*.deb && \
    ldconfig && \
    rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/* /var/log/apt /var/log/*.log && \
    mkdir /models
# Numeric, so that orchestrators can see that it is not root. It owns nothing: the root may be
# read-only, and the model, mounted at /models, too.
USER 65532:65532
WORKDIR /models
EXPOSE 50051 9091
# The server drains at SIGTERM: --drain-timeout, 30 s, must be less than what stops the container.
STOPSIGNAL SIGTERM
# Loading a large model takes minutes, and until then the port is closed.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10m CMD ["peerage", "health", "--quiet"]
# Listens on loopback, like everywhere, until it is told otherwise: PEERAGE_LISTEN=0.0.0.0:50051, with
# PEERAGE_TLS_CERT and PEERAGE_TLS_KEY, or PEERAGE_INSECURE=true.
ENTRYPOINT ["peerage-server"]
ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="Peerage" \
      org.opencontainers.image.description="gRPC server for language models of PEER and BAM layers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
