# The product alone, for production: `docker run IMAGE api`, `… worker`, `… migrate`. The embedded
# servers of `holdfast up` are not in it: Redis or Valkey and PostgreSQL are somebody's own.

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Dependencies first, so that a change of code alone does not install them again.
COPY deploy/requirements.lock deploy/build.lock ./deploy/
RUN python -m venv /opt/holdfast \
    && /opt/holdfast/bin/pip install --no-deps --only-binary=:all: --require-hashes \
        --requirement deploy/requirements.lock \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-deps --only-binary=:all: --require-hashes \
        --requirement deploy/build.lock
COPY . .
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /dist . \
    && /opt/holdfast/bin/pip install --no-deps --no-index /dist/*.whl

FROM python:3.11-slim-bookworm
ENV PATH=/opt/holdfast/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN groupadd --system --gid 10001 holdfast \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin holdfast
COPY --from=build /opt/holdfast /opt/holdfast
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
STOPSIGNAL SIGTERM
# The API's own life. A worker serves no HTTP: run it with --no-healthcheck.
HEALTHCHECK --interval=10s --timeout=3s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/healthz', timeout=2)"]
ENTRYPOINT ["holdfast"]
CMD ["api", "--host", "0.0.0.0"]
