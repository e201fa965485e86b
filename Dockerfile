# The allocation gateway. Build: docker build --build-arg REVISION=$(git rev-parse HEAD) -t allocation-gateway .
# With the sandbox beside it: the same with --target sandbox -t allocation-gateway:sandbox   (BuildKit, podman or buildah)
#
# BASE_IMAGE is any image with Python 3.11 to 3.15 as python3, its venv module, and a glibc as of Debian 12 or newer. The
# default is a tag, which moves: name one by its digest for what is to stay the same.
# VERSION, REVISION and SOURCE become labels of the image: the gateway's version, the commit, and where its source is.
# Behind a proxy or a private package index, pass files into the build, which leave no trace in the image:
#   --secret id=pip_conf,src=<pip.conf>      read by pip
#   --secret id=ca_bundle,src=<bundle.pem>   certificate authorities; name it in pip.conf: cert = /run/secrets/ca_bundle
# Two builds of one commit on one base have the same files, but for their times. To have these alike too, and with them the
# layers, byte for byte, say which time all files get:
#   BuildKit          --build-arg SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) --output type=image,name=<name>,rewrite-timestamp=true
#   podman, buildah   --timestamp $(git log -1 --format=%ct)
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_CONFIG_FILE=/run/secrets/pip_conf
# What only building needs.
ENV BUILD_TOOLS="editables hatchling packaging pathspec pluggy tomlkit trove-classifiers"
# pip stays outside the environment that the image gets: it can neither run nor be attacked there.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/allocation-gateway
WORKDIR /src
# The locked packages by themselves: this layer is kept until the lock changes.
COPY requirements.lock ./
RUN --mount=type=secret,id=pip_conf --mount=type=secret,id=ca_bundle \
    /opt/pip/bin/pip --python /opt/allocation-gateway/bin/python install --no-compile \
    --require-hashes --only-binary :all: --requirement requirements.lock
# What lists them is in the builder alone.
COPY requirements-sbom.lock ./
RUN --mount=type=secret,id=pip_conf --mount=type=secret,id=ca_bundle \
    /opt/pip/bin/pip install --no-compile --require-hashes --only-binary :all: --requirement requirements-sbom.lock
COPY pyproject.toml README.md ./
COPY clients/python clients/python
COPY server server

# What the image for production gets: installed, without what only building needs (`pip check` tells if something else
# needed it), and listed.
FROM build AS installed-production
RUN /opt/pip/bin/pip --python /opt/allocation-gateway/bin/python install --no-compile \
    --no-index --no-deps --no-build-isolation ./clients/python . \
    && /opt/pip/bin/pip --python /opt/allocation-gateway/bin/python uninstall --yes ${BUILD_TOOLS} \
    && /opt/pip/bin/pip --python /opt/allocation-gateway/bin/python check \
    && /opt/pip/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
    --output-file /opt/allocation-gateway/sbom.cdx.json /opt/allocation-gateway/bin/python

# The same, and the sandbox.
FROM installed-production AS installed-sandbox
COPY requirements-sandbox.lock ./
RUN --mount=type=secret,id=pip_conf --mount=type=secret,id=ca_bundle \
    /opt/pip/bin/pip --python /opt/allocation-gateway/bin/python install --no-compile \
    --require-hashes --only-binary :all: --requirement requirements-sandbox.lock
RUN /opt/pip/bin/pip --python /opt/allocation-gateway/bin/python install --no-compile \
    --no-index --no-deps --no-build-isolation ./server/allocation_gateway/sandbox \
    && /opt/pip/bin/pip --python /opt/allocation-gateway/bin/python uninstall --yes ${BUILD_TOOLS} \
    && /opt/pip/bin/pip --python /opt/allocation-gateway/bin/python check \
    && /opt/pip/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
    --output-file /opt/allocation-gateway/sbom.cdx.json /opt/allocation-gateway/bin/python

# The bytecode of both. It goes by the hashes of its sources: pip would have it go by their times, which differ from build to
# build, and which whoever rewrites the times of files makes wrong, so that each start would compile everything anew. It is made
# in one order by a process that does nothing else, since bytecode also tells of what else lives in the process; and in the place
# of what there is by now (-f), which programs have left that ran in the build.
FROM installed-production AS build-production
RUN /opt/allocation-gateway/bin/python -m compileall -f -q --invalidation-mode checked-hash /opt/allocation-gateway/lib

FROM installed-sandbox AS build-sandbox
RUN /opt/allocation-gateway/bin/python -m compileall -f -q --invalidation-mode checked-hash /opt/allocation-gateway/lib

FROM ${BASE_IMAGE} AS image
# What the base has to install packages with: nothing is installed any more, and the gateway's environment has packages of
# its own. Where a distribution has Python as a package, it has no pip, and only venv's copies of it go.
USER 0
RUN rm -rf /usr/local/bin/pip* /usr/local/bin/wheel /usr/local/lib/python3.*/site-packages/* \
    /usr/local/lib/python3.*/ensurepip /usr/lib/python3.*/ensurepip /usr/share/python-wheels
ARG BASE_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="allocation-gateway" \
      org.opencontainers.image.description="A gRPC gateway in front of Sorted's shipment allocation REST APIs" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
ENV PATH=/opt/allocation-gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    ALLOCATION_GATEWAY_HOST=0.0.0.0 \
    ALLOCATION_GATEWAY_HEALTH_PORT=50052
# A number, so that Kubernetes can tell that it is not root. It needs no name, no home and nothing it may write to.
USER 65532:65532
# 50051 serves calls; 50052 serves nothing but health, without TLS, for probes that know no TLS.
EXPOSE 50051 50052
# For `serve`, with or without TLS. Run another command with --no-healthcheck.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD ["allocation-gateway", "health", "--address", "127.0.0.1:50052"]
# The gateway handles signals itself, also as process 1. With several workers it reaps every child too.
ENTRYPOINT ["allocation-gateway"]
CMD ["serve"]

# Both: for whoever tries it, and the pod that the chart runs with sandbox.enabled.
FROM image AS sandbox
COPY --from=build-sandbox /opt/allocation-gateway /opt/allocation-gateway
# The sandbox itself, which has no key to keep.
EXPOSE 8080

# Without the sandbox, its HTTP server and what comes with that. The last target is the default.
FROM image AS production
COPY --from=build-production /opt/allocation-gateway /opt/allocation-gateway
