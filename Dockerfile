ARG BASE=python:3.11-slim
# docker build --target device -t eed-edge .           the runtime, no torch
# docker build --target train -t eed-edge-train .      everything; PIP_FLAGS may name the index of CPU builds
# docker run --rm -v "$PWD:/data:ro" eed-edge run /data/bundle /data/cat.png
# BASE may be any image that has Python 3.11 with venv and pip.

FROM ${BASE} AS build
ARG PIP_FLAGS=
WORKDIR /src
COPY . .
RUN python3 -m venv /opt/build \
    && /opt/build/bin/pip wheel --quiet ${PIP_FLAGS} --no-deps --wheel-dir /wheels .

FROM ${BASE} AS device
ARG PIP_FLAGS=
# Without the last, onnxruntime since 1.29 reports to its maker and warns that it has no folder for its device id.
ENV PATH=/opt/eed-edge/bin:$PATH PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
RUN python3 -m venv /opt/eed-edge \
    && pip install --quiet --no-cache-dir ${PIP_FLAGS} -c /wheels/constraints.txt "$(ls /wheels/*.whl)[images]"
WORKDIR /data
USER 65534
ENTRYPOINT ["eed-edge"]

FROM device AS train
ARG PIP_FLAGS=
USER 0
# foolbox imports GitPython, which without git fails otherwise.
ENV GIT_PYTHON_REFRESH=quiet
RUN pip install --quiet --no-cache-dir ${PIP_FLAGS} -c /wheels/constraints.txt \
    "$(ls /wheels/*.whl)[train,attack,report]"
