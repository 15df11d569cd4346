"""A Kubernetes API server for tests: ours over plain HTTP, with the manners of the real one.

`FakeApiServer(folder)` runs in its own thread on a free loopback port; the real Kubernetes client
talks to it by its `kubeconfig_path`. `ApiServer` is the part that a real server shares.
"""

from tests.fakes.kubernetes.client import ApiServer
from tests.fakes.kubernetes.faults import Break, Fault
from tests.fakes.kubernetes.resources import ScalePaths, custom
from tests.fakes.kubernetes.server import FakeApiServer
from tests.fakes.kubernetes.status import ApiError

__all__ = ["ApiError", "ApiServer", "Break", "FakeApiServer", "Fault", "ScalePaths", "custom"]
