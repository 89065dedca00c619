# One image for everything: Beam's Python worker with profilecast in it. `profilecast` is on its path.
#   docker build -f deploy/worker.Dockerfile -t profilecast:1 .
# BASE must have the version of Beam that constraints.txt names, and Python 3.11 or newer.
ARG BASE=apache/beam_python3.11_sdk:2.77.0
FROM ${BASE}

WORKDIR /opt/profilecast
COPY setup.py pyproject.toml constraints.txt ./
COPY pipeline/ pipeline/
COPY transforms/ transforms/
COPY schemas/ schemas/
COPY sandbox/ sandbox/
COPY examples/ examples/
RUN pip install --no-cache-dir --constraint constraints.txt '.[kafka]'
