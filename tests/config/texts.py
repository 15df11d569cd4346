"""Policy files as text, and what the loader says of them."""

from collections.abc import Mapping
from pathlib import Path

from autoscaler.config import read_fleet
from autoscaler.core.errors import ConfigError

CHAT = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: ScaledWorkload
metadata: {name: chat, namespace: llm}
spec:
  target: {kind: Deployment, name: chat}
  actuation: none
  replicas: {min: 1, max: 12}
  replica: {gpus: 4, coldStartSeconds: 240}
  slo: {ttftP95Seconds: 2.0}
  match: {model_name: chat}
  signals:
    queue_length:
      role: queue
      query: sum by ($labels) (vllm:num_requests_waiting{$match})
    ttft_p95:
      role: latency
      query: histogram_quantile(0.95, rate(vllm:ttft_bucket{$match}[$window]))
  policies:
    - {type: queue-drain, signal: queue_length}
    - {type: latency-guard, signal: ttft_p95}
  combine: highest
  behavior:
    scaleDown: {stabilizationWindowSeconds: 600}
  fallback: {afterSeconds: 180, replicas: keep}
"""

POOL = """\
apiVersion: inference-autoscaler.dev/v1alpha1
kind: NodePool
metadata: {name: h100}
spec:
  actuation: none
  gpusPerNode: 8
  nodes: {min: 1, max: 6}
  provisioningSeconds: 300
  scaleDownSeconds: 600
"""


def changed(*replacements: tuple[str, str], text: str = CHAT) -> str:
    """Return the text with each first part replaced, which must be there once."""
    for old, new in replacements:
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    return text


def problems_in(files: Mapping[str, str | bytes], *named: str) -> list[str]:
    """Write files into the present folder and return what is wrong with those named, or all."""
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    try:
        read_fleet([Path(name) for name in named or files])
    except ConfigError as error:
        return list(error.problems)
    return []
