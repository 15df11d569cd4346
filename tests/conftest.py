"""Settings for every test: one thread per process, and how hard hypothesis looks."""

import os

import structlog
from hypothesis import HealthCheck, settings

# Before anything imports numpy: OpenMP's threads spin against each other on few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A busy machine is slow and not wrong: no deadline anywhere.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("dev", patient, max_examples=25)
settings.register_profile("ci", patient, max_examples=200, derandomize=True)
settings.register_profile("nightly", patient, max_examples=5000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)


def pytest_runtest_teardown() -> None:
    """Commands set the log up for their whole process; here that would be for every later test."""
    structlog.reset_defaults()
