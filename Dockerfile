# The service, and in the same image its command line.
FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

# The owner of ./tmp on the host, so that both can read and write there.
ARG UID=1000
ARG GID=1000
RUN groupadd --gid "$GID" --non-unique aggsvc \
 && useradd --uid "$UID" --gid "$GID" --non-unique --create-home aggsvc

WORKDIR /srv/aggsvc
COPY requirements.lock .
RUN python -m pip install --require-hashes -r requirements.lock

COPY pyproject.toml README.md ./
COPY aggsvc aggsvc
COPY mocks mocks
COPY web web
COPY cli cli
RUN python -m pip install --no-deps --no-build-isolation . \
 && mkdir tmp && chown aggsvc:aggsvc tmp

USER aggsvc
ENV HOST=0.0.0.0 PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/health\", timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["python", "-m", "aggsvc"]
