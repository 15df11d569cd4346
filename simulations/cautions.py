"""What is out of the ordinary in a run, for whoever reads its numbers."""

from collections.abc import Iterable, Mapping, Sequence

from autoscaler.core.node_pools import NodePool
from autoscaler.core.workload import ScaledWorkload
from simulations.compare import pool_holds
from simulations.profiles import profile_of
from simulations.score import Score


def cautions_of(score: Score, workload: ScaledWorkload, trace_seconds: float) -> list[str]:
    """Return a sentence for each thing without which a score is easily misread.

    Args:
        score: How the run went.
        workload: What was run.
        trace_seconds: When the last request arrived.
    """
    found = unserved(score, workload, trace_seconds)
    return [*found, *slow_start(workload, trace_seconds)] if score.scale_events else found


def unserved(score: Score, workload: ScaledWorkload, trace_seconds: float) -> list[str]:
    """Return why some requests were not served, if some were not."""
    spec, found = workload.spec, list[str]()
    profile = profile_of(spec.replica)
    if score.too_long:
        one = score.too_long == 1
        found.append(
            f"{score.too_long:,} of {score.requests:,} requests {'is' if one else 'are'} longer "
            f"than the model's context of {profile.context_tokens:,} tokens, prompt and answer "
            f"together, and {'was' if one else 'were'} refused."
        )
    refused = score.failed - score.too_long
    if refused:
        found.append(
            f"{refused:,} of {score.requests:,} requests were refused: prompt and answer do "
            f"not fit the KV cache of a replica ({profile.kv_tokens:,} tokens)."
        )
    if score.unfinished:
        later = score.seconds - trace_seconds
        most = spec.replicas.max
        asked = f", though spec.replicas.max ({most:,}) ran" if score.max_replicas >= most else ""
        found.append(
            f"{score.unfinished:,} of {score.requests:,} requests had no full answer "
            f"{later:,.0f} s after the last one arrived{asked}."
        )
    return found


def slow_start(workload: ScaledWorkload, trace_seconds: float) -> list[str]:
    """Return that replicas start too slowly for a trace, if they do."""
    seconds = workload.spec.replica.cold_start_seconds
    if seconds <= trace_seconds:
        return []
    caution = (
        f"A replica takes {seconds:,.0f} s to start and the trace only {trace_seconds:,.0f} s: "
        "whatever is asked for comes too late."
    )
    return [caution]


def no_room(pools_of: Mapping[str, Sequence[NodePool]], gpus: int) -> Iterable[str]:
    """Yield whose nodes can never hold a single replica, however many are asked for.

    Args:
        pools_of: The node pool of each run, by the run's name; none where there is always room.
        gpus: GPUs of one replica.
    """
    for name, pools in pools_of.items():
        for pool in pools:
            if not pool_holds(pool, gpus):
                nodes, each = pool.spec.nodes.max, pool.spec.gpus_per_node
                yield (
                    f"{name}: node pool {pool.key} never holds a replica: one has {gpus} GPUs, the "
                    f"pool at most {nodes:,} node{'' if nodes == 1 else 's'} of {each}. It served "
                    "nobody."
                )
