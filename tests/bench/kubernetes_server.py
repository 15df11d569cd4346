"""A Kubernetes API for the benchmark, a process of its own.

`python -m tests.bench.kubernetes_server WORKLOADS FOLDER`

The fake API server of the tests, with a Deployment of two ready pods for each workload and a
disruption budget for one in ten. Nothing answers a change of size but the number itself.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from autoscaler.service import wall
from tests.bench.fleet import REPLICAS, name_of, namespace_of
from tests.fakes.kubernetes import objects
from tests.fakes.kubernetes.server import FakeApiServer

OLD_SECONDS = 86_400.0
OURS = "inference-autoscaler"


def main() -> None:
    workloads, folder = int(sys.argv[1]), Path(sys.argv[2])
    began = wall() - OLD_SECONDS
    seeding = True

    def clock() -> float:
        return began if seeding else wall()

    with FakeApiServer(folder, clock=clock, remembers=100_000) as server:
        server.add(objects.config_map("ours", namespace=OURS))  # its namespace is made with it
        for index in range(workloads):
            server.add(*_objects(index, began), manager="kubectl-create")
        seeding = False
        sys.stdout.write(f"{server.kubeconfig_path}\n")
        sys.stdout.flush()
        sys.stdin.read()  # until whoever started us ends


def _objects(index: int, began: float) -> list[dict[str, Any]]:
    name, namespace = name_of(index), namespace_of(index)
    stamp = datetime.fromtimestamp(began, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    deployment = objects.deployment(name, replicas=REPLICAS, namespace=namespace)
    counts = ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas")
    deployment["status"] = {**dict.fromkeys(counts, REPLICAS), "observedGeneration": 1}
    made = [deployment]
    for number in range(REPLICAS):
        pod = objects.pod(f"{name}-{number}", namespace=namespace, labels={"app": name})
        condition = {"type": "Ready", "status": "True", "lastTransitionTime": stamp}
        pod["status"] = {"phase": "Running", "startTime": stamp, "conditions": [condition]}
        made.append(pod)
    if index % 10 == 0:
        made.append(objects.disruption_budget(name, app=name, allowed=1, namespace=namespace))
    return made


if __name__ == "__main__":
    main()
