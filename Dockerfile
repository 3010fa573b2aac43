# One image for every role: `docker run emostream worker`, `… sink`, `… init`.

FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/emostream
# Dependencies change less often than the code, so they have their own layer.
COPY requirements/runtime.txt requirements/build.txt /build/requirements/
RUN /opt/emostream/bin/pip install --require-hashes --no-deps --only-binary :all: -r /build/requirements/runtime.txt \
 && pip install --require-hashes --no-deps --only-binary :all: -r /build/requirements/build.txt
COPY pyproject.toml README.md LICENSE /build/
COPY init_db /build/init_db
COPY scripts/demo_posts.jsonl /build/scripts/
COPY docs/tableau/emostream.twb /build/docs/tableau/
COPY connectors /build/connectors
COPY models /build/models
COPY streams /build/streams
COPY api /build/api
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /build/dist /build \
 && /opt/emostream/bin/pip install --no-deps /build/dist/*.whl \
 && /opt/emostream/bin/pip uninstall --yes pip

FROM python:3.12-slim
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/emostream --create-home emostream \
 && install -d -o emostream -g emostream /var/cache/emostream
COPY --from=build /opt/emostream /opt/emostream
ENV PATH=/opt/emostream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    EMOSTREAM_MODEL_CACHE=/var/cache/emostream
USER emostream
WORKDIR /var/lib/emostream
ENTRYPOINT ["emostream"]
CMD ["--help"]
