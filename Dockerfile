# Tandem's images, one target each: services, dashboard, forecaster, operator, mlflow, trainer. `make images` builds all; docs/images.md tells more.
#
#   docker build --target forecaster --tag tandem-forecaster .
#
# The base is an argument, so that a release pins it: --build-arg PYTHON_IMAGE=docker.io/library/python:3.11-slim@sha256:...
# Packages come by the locks of requirements/, each with its hash. Whoever reaches them through a proxy with a certificate of its own mounts
# his bundle over /etc/ssl/certs/ca-certificates.crt during the build; it does not become part of an image.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
ENV PATH=/opt/build/bin:$PATH \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    UV_CACHE_DIR=/var/cache/uv \
    UV_LINK_MODE=copy \
    UV_NO_PROGRESS=1 \
    UV_PYTHON_DOWNLOADS=never \
    VIRTUAL_ENV=/opt/venv
# Packages bring their tests along, a tenth of what they weigh.
ENV DROP_TESTS="find /opt/venv/lib -depth -type d -name tests -exec rm -rf {} +"
WORKDIR /build
COPY images/bytecode.py ./
COPY requirements/build.lock requirements/
RUN python3 -m venv /opt/build \
 && pip install --quiet --no-cache-dir --disable-pip-version-check --cert "$SSL_CERT_FILE" --require-hashes -r requirements/build.lock

# Tandem itself, without what it depends on: one small layer that all roles share, the only one that a change of the code replaces.
FROM build AS tandem
COPY pyproject.toml README.md LICENSE ./
COPY services services
RUN uv venv --quiet /opt/venv \
 && pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
 && PYC_INVALIDATION_MODE=UNCHECKED_HASH uv pip install --quiet --no-deps --no-cache --compile-bytecode dist/*.whl \
 # Compiled kernels are kept by the time of their source to the nanosecond, a layer keeps seconds.
 && find /opt/venv/lib/*/site-packages/tandem -name "*.py" -exec touch -d @1704067200 {} +

FROM build AS services-packages
COPY requirements/services.lock requirements/
RUN --mount=type=cache,target=/var/cache/uv \
    uv venv --quiet /opt/venv && uv pip install --quiet --require-hashes -r requirements/services.lock && $DROP_TESTS \
 && /opt/venv/bin/python bytecode.py alembic.config alembic.command alpaca.data.live alpaca.trading.stream exchange_calendars fastapi kafka pandas \
      prometheus_client psycopg2.extras pyarrow.parquet pydantic_settings redis requests ruamel.yaml sqlalchemy structlog typer uvicorn \
      websockets.asyncio.client yaml

# 20 US stocks, daily, 1990 to 2022, for the replay of an installation without an account: out of the skfolio package (BSD-3-Clause), whose
# authors provide them for testing and examples. --build-arg DEMO_DATA=no leaves them out.
FROM services-packages AS demo-data
ARG DEMO_DATA=yes
COPY requirements/run.lock requirements/
COPY --from=tandem /opt/venv/ /opt/venv/
RUN --mount=type=cache,target=/var/cache/uv mkdir /data && if [ "$DEMO_DATA" = yes ]; then \
      awk '/^[a-z]/ {wanted = /^skfolio==/} wanted' requirements/run.lock > skfolio.lock \
   && uv pip install --quiet --no-deps --require-hashes --target /opt/skfolio -r skfolio.lock \
   && cp /opt/skfolio/skfolio-*.dist-info/licenses/LICENSE /data/LICENSE.skfolio \
   && PYTHONPATH=/opt/skfolio /opt/venv/bin/python -c \
      "from pathlib import Path; from tandem.adapters.skfolio_data import skfolio_dataset; skfolio_dataset(Path('/data/us-stocks-daily.parquet'))"; fi \
 # The same bytes under the same time are the same layer.
 && touch -d @1704067200 /data /data/*

# What all images of ours share. Only /tmp is written to: everything else may be read-only.
FROM ${PYTHON_IMAGE} AS runtime
RUN groupadd --gid 65532 tandem \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin tandem
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    GIT_PYTHON_REFRESH=quiet \
    MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /app
COPY LICENSE ./
COPY services/tandem/health.py ./
LABEL org.opencontainers.image.vendor="Tandem" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532

# Below, what is large and changes seldom comes before what is small and changes often.
FROM runtime AS python-service
ENV TANDEM_HOST=0.0.0.0 \
    TANDEM_PORT=8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "/app/health.py"]
EXPOSE 8080

# Ingestor, recorder, portfolio, recycler: `python -m tandem.<name>.main`.
FROM python-service AS services
LABEL org.opencontainers.image.title="tandem-services" \
      org.opencontainers.image.description="Ingestor, recorder, portfolio and recycler"
COPY --from=services-packages /opt/venv/ /opt/venv/
COPY --from=demo-data /data/ data/
COPY config config
COPY --from=tandem /opt/venv/ /opt/venv/
# Last, so that another commit alone replaces no layer.
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
CMD ["tandem", "--help"]

FROM build AS dashboard-packages
COPY requirements/dashboard.lock requirements/
RUN --mount=type=cache,target=/var/cache/uv \
    uv venv --quiet /opt/venv && uv pip install --quiet --require-hashes -r requirements/dashboard.lock && $DROP_TESTS \
 # What notebooks read; Plotly's code for browsers, as Streamlit brings its own; Arrow's network, sources, and the two copies of a library that
 # is loaded by its third name.
 && cd /opt/venv/lib/python3.11/site-packages && rm -r /opt/venv/share/jupyter pydeck/nbextension plotly/labextension plotly/package_data/*.js \
      pyarrow/include pyarrow/includes pyarrow/src pyarrow/*.pxd pyarrow/*.pxi pyarrow/*.pyx pyarrow/libarrow_python.so pyarrow/libarrow_python.so.*.*.* \
      pyarrow/libarrow_flight.so.* pyarrow/libarrow_python_flight.so* pyarrow/_flight.*.so && cd /build \
 && /opt/venv/bin/python bytecode.py alembic.config alembic.command exchange_calendars httpx kafka orjson pandas plotly.graph_objects plotly.subplots \
      prometheus_client psycopg2.extras pydantic_settings ruamel.yaml scipy.optimize scipy.stats sqlalchemy starlette.applications \
      streamlit.web.bootstrap streamlit.runtime.scriptrunner structlog uvicorn

FROM python-service AS dashboard
LABEL org.opencontainers.image.title="tandem-dashboard" \
      org.opencontainers.image.description="The page for people: Streamlit over the portfolio's API and the database"
COPY --from=dashboard-packages /opt/venv/ /opt/venv/
COPY config config
COPY --from=tandem /opt/venv/ /opt/venv/
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "/app/health.py", "http://127.0.0.1:8080/_stcore/health"]
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
CMD ["python", "-m", "tandem.dashboard.main"]

FROM build AS forecaster-packages
COPY requirements/forecaster.lock requirements/
RUN --mount=type=cache,target=/var/cache/uv \
    uv venv --quiet /opt/venv && uv pip install --quiet --require-hashes -r requirements/forecaster.lock && $DROP_TESTS \
 && /opt/venv/bin/python bytecode.py _bentoml_impl.server.app _bentoml_sdk alembic.config alembic.command bentoml exchange_calendars httpx_ws kafka \
      mlflow.artifacts onnxruntime pandas prometheus_client psycopg2.extras pydantic_settings schema sqlalchemy structlog uvicorn

FROM python-service AS forecaster
LABEL org.opencontainers.image.title="tandem-forecaster" \
      org.opencontainers.image.description="The BentoML service of one sector and one pinned version of its model"
ENV TANDEM_PORT=3000 \
    BENTOML_HOME=/tmp/bentoml \
    BENTOML_DO_NOT_TRACK=True
EXPOSE 3000
COPY --from=forecaster-packages /opt/venv/ /opt/venv/
COPY config config
COPY --from=tandem /opt/venv/ /opt/venv/
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
CMD ["python", "-m", "tandem.forecaster.main"]

FROM build AS operator-packages
COPY requirements/operator.lock requirements/
RUN --mount=type=cache,target=/var/cache/uv \
    uv venv --quiet /opt/venv && uv pip install --quiet --require-hashes -r requirements/operator.lock && $DROP_TESTS \
 # The client's asynchronous twin, as large as itself; nothing imports it.
 && rm -r /opt/venv/lib/python3.11/site-packages/kubernetes/aio \
 && /opt/venv/bin/python bytecode.py alembic.config alembic.command exchange_calendars httpx kafka kopf.cli kubernetes.client mlflow.artifacts \
      onnxruntime pandas prometheus_client psycopg2.extras pydantic_settings ruamel.yaml scipy.optimize scipy.stats sqlalchemy structlog uvicorn

FROM python-service AS operator
LABEL org.opencontainers.image.title="tandem-operator" \
      org.opencontainers.image.description="The Kubernetes operator of Tandem's resources"
EXPOSE 8081
COPY --from=operator-packages /opt/venv/ /opt/venv/
COPY config config
COPY operators operators
COPY --from=tandem /opt/venv/ /opt/venv/
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
CMD ["kopf", "run", "--standalone", "--liveness=http://0.0.0.0:8081/healthz", "/app/operators/handlers.py"]

FROM build AS mlflow-packages
COPY requirements/mlflow.lock requirements/
RUN --mount=type=cache,target=/var/cache/uv \
    uv venv --quiet /opt/venv && uv pip install --quiet --require-hashes -r requirements/mlflow.lock && $DROP_TESTS \
 && /opt/venv/bin/python bytecode.py mlflow.cli mlflow.server.fastapi_app psycopg2

# The server of models and runs. MLFLOW_BACKEND_STORE_URI names its database.
FROM runtime AS mlflow
LABEL org.opencontainers.image.title="tandem-mlflow" \
      org.opencontainers.image.description="MLflow's server with the driver of PostgreSQL"
COPY --from=mlflow-packages /opt/venv/ /opt/venv/
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["python", "/app/health.py", "http://127.0.0.1:5000/health"]
EXPOSE 5000
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--serve-artifacts", "--artifacts-destination", "/tmp/artifacts"]

# torch of the default index is the CUDA build, seven gigabytes with its libraries. --build-arg TORCH_INDEX_URL=... names an index with builds
# for the CPU of the same version, which is marked +cpu there (TORCH_BUILD). No lock can know its hash: --build-arg TORCH_SHA256=... holds the
# wheel to one.
FROM build AS trainer-packages
ARG TORCH_INDEX_URL=
ARG TORCH_BUILD=cpu
ARG TORCH_SHA256=
COPY requirements/trainer.lock requirements/
RUN --mount=type=cache,target=/var/cache/uv \
    uv venv --quiet /opt/venv && cp requirements/trainer.lock all.lock && if [ -n "$TORCH_INDEX_URL" ]; then \
      awk '/^[a-z]/ {wanted = !/^(torch|triton|nvidia|cuda)[a-z0-9-]*==/} wanted' requirements/trainer.lock > all.lock \
   && grep -oE '^torch==[0-9.]+' requirements/trainer.lock | sed "s/$/${TORCH_BUILD:++$TORCH_BUILD}${TORCH_SHA256:+ --hash=sha256:$TORCH_SHA256}/" > torch.lock \
   && uv pip install --quiet --no-deps --index-url "$TORCH_INDEX_URL" ${TORCH_SHA256:+--require-hashes} -r torch.lock; fi \
 && uv pip install --quiet --no-deps --require-hashes -r all.lock && uv pip check --quiet \
 && /opt/venv/bin/python bytecode.py alembic.command arch.univariate exchange_calendars matplotlib.pyplot mlflow.pyfunc numba onnx onnxruntime \
      optuna pandas psycopg2 pyarrow.parquet statsmodels.api torch

# One training compiles every kernel that a training calls; without it each Job would do so first, for a minute. On a processor that differs
# from this one's they are compiled again in the pod, see services/tandem/kernels.py.
FROM trainer-packages AS trainer-kernels
COPY --from=tandem /opt/venv/ /opt/venv/
COPY --from=demo-data /data/ data/
COPY config config
RUN echo "import tandem.kernels; tandem.kernels.lay_out()" > tandem-kernels.pth && mkdir /opt/kernels && if [ -f data/us-stocks-daily.parquet ]; then \
      NUMBA_CACHE_DIR=/opt/kernels MPLCONFIGDIR=/tmp/matplotlib /opt/venv/bin/tandem train --sector consumer --data data/us-stocks-daily.parquet \
        --from 2012-01-01 --to 2017-01-01 --output /tmp/bundle; fi

FROM python-service AS trainer
LABEL org.opencontainers.image.title="tandem-trainer" \
      org.opencontainers.image.description="Training, tuning and the pre-market run"
ENV MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/kernels \
    TANDEM_KERNELS=/opt/kernels
COPY --from=trainer-packages /opt/venv/ /opt/venv/
COPY --from=demo-data /data/ data/
COPY config config
COPY --from=tandem /opt/venv/ /opt/venv/
COPY --from=trainer-kernels /opt/kernels/ /opt/kernels/
COPY --from=trainer-kernels /build/tandem-kernels.pth /opt/venv/lib/python3.11/site-packages/
HEALTHCHECK NONE
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV TANDEM_COMMIT="${REVISION}"
CMD ["tandem", "rebaseline", "--once"]
