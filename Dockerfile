# The operator's image. `make image` fills dist/wheels first; the build itself needs no network.
# Both base images must have the same minor version of Python, the one that dist/wheels is for (make's IMAGE_PYTHON).
ARG BUILD_IMAGE=python:3.13-slim
ARG BASE_IMAGE=gcr.io/distroless/python3-debian13:nonroot

FROM ${BUILD_IMAGE} AS build
COPY requirements/run.lock image/assemble.py /build/
COPY dist/wheels/ /build/wheels/
RUN ["python3", "/build/assemble.py", "/build/wheels", "/app", "/build/run.lock"]

FROM ${BASE_IMAGE}
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="telegrambot-operator" \
      org.opencontainers.image.description="Keeps exactly one instance of each Telegram bot polling" \
      org.opencontainers.image.source="https://github.com/telegrambot-operator/telegrambot-operator" \
      org.opencontainers.image.documentation="https://github.com/telegrambot-operator/telegrambot-operator#readme" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /app /app
# Nothing but /app and the standard library is imported; nothing is written.
ENV PYTHONPATH=/app PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["python3", "-m", "telegrambot_operator"]
CMD ["run"]
