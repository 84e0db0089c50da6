# The aggregator with its embedded broker, for development and up to about 500 devices.
#
#   uv build --wheel
#   docker buildx build --platform linux/amd64,linux/arm64 -f deploy/aggregator.Dockerfile -t accord-aggregator .
#   docker run --rm -p 8883:8883 -v state:/accord/state -v fleet:/accord/fleet:ro \
#     -v ./aggregator.toml:/accord/aggregator.toml:ro accord-aggregator
#
# The fleet's folder holds the aggregator's key: it must belong to user 10001, mode 0600.
FROM python:3.11-slim
ARG EXTRA=aggregator,broker
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
WORKDIR /accord
COPY dist/*.whl ./
RUN for wheel in accord_fl-*.whl; do pip install --no-cache-dir "./$wheel[$EXTRA]"; done && rm accord_fl-*.whl
RUN install -d -m 0700 -o 10001 -g 10001 state
USER 10001:10001
VOLUME /accord/state
EXPOSE 8883
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=1m --timeout=30s --start-period=30s CMD accord job list --state state --json
CMD ["accord", "up", "--config", "aggregator.toml", "--json"]
