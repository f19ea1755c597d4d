# The gateway as a container: `docker build -t voice-gateway .`
# With the offline voice (about 190 MB more): `docker build --build-arg LOCAL_VOICE=true -t voice-gateway .`

FROM python:3.12-slim AS build
ARG LOCAL_VOICE=false
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH
WORKDIR /src
# Dependencies first: they change less often than the code, and this layer is kept.
COPY requirements/base.txt requirements/local.txt requirements/
RUN if [ "$LOCAL_VOICE" = true ]; then chosen=local; else chosen=base; fi \
    && pip install --require-hashes --requirement "requirements/$chosen.txt"
COPY pyproject.toml README.md LICENSE ./
COPY voice_gateway voice_gateway
COPY migrations migrations
RUN pip install --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN groupadd --system --gid 10001 gateway \
    && useradd --system --uid 10001 --gid gateway --home-dir /app --no-create-home --shell /usr/sbin/nologin gateway \
    && install --directory --owner=gateway --group=gateway /app /app/var
COPY --from=build /opt/gateway /opt/gateway
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8787
WORKDIR /app
USER 10001:10001
# The local record of calls; mount a disk here that outlives the container.
VOLUME /app/var
EXPOSE 8787
# Live calls go on after SIGTERM for up to DRAIN_SECONDS: give the container that long, and a little more, to stop.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client as h, os, sys; c = h.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=2); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
CMD ["voice-gateway", "serve"]
