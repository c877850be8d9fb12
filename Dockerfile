# The operator's image: Python, the packages of requirements/run.lock, and the operator, without the rest of the system
# that they come from. `make image` fills dist/wheels first; the build itself needs no network.
# The base image has a Python of the minor version that dist/wheels is for (make's IMAGE_PYTHON).
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
COPY requirements/run.lock image/assemble.py /build/
COPY dist/wheels/ /build/wheels/
RUN ["python3", "/build/assemble.py", "/image", "/build/wheels", "/build/run.lock"]

FROM scratch
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="telegrambot-operator" \
      org.opencontainers.image.description="Keeps exactly one instance of each Telegram bot polling" \
      org.opencontainers.image.source="https://github.com/telegrambot-operator/telegrambot-operator" \
      org.opencontainers.image.documentation="https://github.com/telegrambot-operator/telegrambot-operator#readme" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/ /
# Nothing but /app and the standard library is imported; nothing is written. What Telegram's certificate is checked
# against comes with the packages.
ENV PATH=/usr/local/bin:/usr/bin PYTHONPATH=/app SSL_CERT_FILE=/app/certifi/cacert.pem \
    PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["python3", "-m", "telegrambot_operator"]
CMD ["run"]
