# Targets: device, the runtime without torch; train, everything but the tools of developers.
# `make image` builds one and tries it; docs/CONTAINER.md says more.
# BASE may be any image with python3, its venv and ensurepip; torch's CPU build wants 3.11.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ARG PIP_FLAGS=
WORKDIR /src
COPY . .
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip wheel --quiet ${PIP_FLAGS} --no-deps --wheel-dir /wheels . \
    && python3 -m venv --without-pip /opt/eed-edge \
    && /opt/build/bin/pip --python /opt/eed-edge/bin/python install --quiet --no-cache-dir ${PIP_FLAGS} \
        -c constraints.txt "$(ls /wheels/*.whl)[images]"

FROM ${BASE} AS device
# Without the last, onnxruntime since 1.29 reports to its maker and warns that it has no folder for its device id.
ENV PATH=/opt/eed-edge/bin:$PATH PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
LABEL org.opencontainers.image.title=eed-edge org.opencontainers.image.licenses=Apache-2.0
COPY --from=build /opt/eed-edge /opt/eed-edge
WORKDIR /data
USER 65534:65534
ENTRYPOINT ["eed-edge"]

FROM build AS build-train
ARG PIP_FLAGS=
RUN /opt/build/bin/pip --python /opt/eed-edge/bin/python install --quiet --no-cache-dir ${PIP_FLAGS} \
    -c constraints.txt "$(ls /wheels/*.whl)[train,attack,report]"

FROM device AS train
# foolbox imports GitPython, which without git fails otherwise.
ENV GIT_PYTHON_REFRESH=quiet
COPY --from=build-train /opt/eed-edge /opt/eed-edge
