# The controller and the adapter in one image, from this checkout, with the versions that are tested:
#   docker build -t inference-autoscaler:0.1.0 .
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY constraints.txt ./
RUN pip install -c constraints.txt hatchling && python -m venv /opt/autoscaler
COPY pyproject.toml README.md LICENSE ./
COPY autoscaler/ autoscaler/
COPY metrics_adapter/ metrics_adapter/
COPY policies/ policies/
COPY simulations/ simulations/
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/autoscaler/bin/pip install -c constraints.txt "$(ls /wheels/*.whl)[keda]"

FROM python:3.13-slim
# As in the Makefile: threads of linear algebra fight over few cores. The root file system is read-only in a pod.
ENV PATH=/opt/autoscaler/bin:$PATH \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/autoscaler /opt/autoscaler
# Neither root nor anybody with a name: the same number as in the manifests.
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["autoscaler"]
CMD ["--help"]
