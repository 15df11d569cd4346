"""The sentences of a comparison's page."""

from importlib.metadata import version
from typing import Any

from autoscaler.core.spec import Slo
from simulations.cautions import no_room, slow_start, unserved
from simulations.report.words import counted, duration, share
from simulations.runs import Comparison, Kind


def promise(slo: Slo) -> str:
    """Return what users were promised, as a sentence."""
    limits = [
        text.format(duration(limit))
        for text, limit in (
            ("the first token within {}", slo.ttft_p95_seconds),
            ("tokens {} apart or less on average", slo.itl_p95_seconds),
            ("the whole answer within {}", slo.e2e_p95_seconds),
        )
        if limit is not None
    ]
    if not limits:
        return f"Promised is an answer, to {slo.attainment * 100:g} % of all requests."
    listed = " and ".join([", ".join(limits[:-1]), limits[-1]] if len(limits) > 1 else limits)
    return f"Promised is {listed}, to {slo.attainment * 100:g} % of all requests."


def facts_of(comparison: Comparison) -> dict[str, str]:
    """Return what was simulated: traffic, lengths, promise and replica, a sentence each."""
    facts, replica = comparison.facts, comparison.workload.spec.replica
    gpus = f"{replica.gpus} GPU{'s' if replica.gpus > 1 else ''}"
    return {
        "traffic": (
            f"{facts.requests:,} requests in {duration(facts.seconds)}: "
            f"{facts.per_second:.3g} a second on average, {facts.peak_per_second:.3g} in the "
            "busiest minute."
        ),
        "lengths": (
            f"Half of the prompts have up to {facts.prompt_p50:,.0f} tokens, 95 % up to "
            f"{facts.prompt_p95:,.0f}; half of the answers up to {facts.output_p50:,.0f}, 95 % up "
            f"to {facts.output_p95:,.0f}."
        ),
        "promise": promise(comparison.slo),
        "replica": (
            f"One replica is {replica.profile} on {gpus}, and serves "
            f"{duration(replica.cold_start_seconds)} after it was asked for."
        ),
    }


def answer_of(comparison: Comparison) -> dict[str, Any]:
    """Return what came out, in sentences, and whether any policy file keeps the promise."""
    goal, reference = comparison.slo.attainment, comparison.reference
    policies = [run for run in comparison.runs if run.kind is Kind.POLICY]
    keeping = [run for run in policies if run.attainment >= goal]
    if keeping:
        cheapest = min(keeping, key=lambda run: run.gpu_hours)
        first = (
            f"{cheapest.name} is the cheapest policy file that keeps the promise: "
            f"{share(cheapest.attainment)} of all requests were served as promised, for "
            f"{cheapest.gpu_hours:,.2f} GPU-hours."
        )
    else:
        nearest = max(policies, key=lambda run: (run.attainment, -run.gpu_hours))
        first = (
            f"No policy file keeps the promise to {goal * 100:g} % of all requests. Nearest is "
            f"{nearest.name}: {share(nearest.attainment)}, for {nearest.gpu_hours:,.2f} GPU-hours."
        )
    steady = next(run for run in comparison.runs if run.name == "static-best")
    seconds = [
        (
            f"Without any scaling, {counted(steady.result.initial, 'replica')} all the time "
            f"{'brings' if steady.result.initial == 1 else 'bring'} "
            f"{share(steady.attainment)} for {steady.gpu_hours:,.2f} GPU-hours."
        ),
        (
            f"A plan that knew the future and obeyed cold starts needed "
            f"{reference.gpu_hours:,.2f} GPU-hours for {share(reference.attainment)}."
        ),
    ]
    if reference.attainment < goal:
        seconds.append(
            "Not even that plan keeps the promise: it is out of reach of these replicas, cold "
            "starts and bounds."
        )
    return {"kept": bool(keeping), "sentences": [first, " ".join(seconds)]}


def cautions_of(comparison: Comparison) -> list[str]:
    """Return a sentence for each thing without which the numbers are easily misread."""
    workload, seconds = comparison.workload, comparison.facts.seconds
    found = unserved(comparison.reference.result.score, workload, seconds)
    if found:
        found[-1] = f"{found[-1]} So it was even for the clairvoyant plan."
    found += no_room({run.name: run.pools for run in comparison.runs}, workload.spec.replica.gpus)
    if any(run.result.score.scale_events for run in comparison.runs if run.kind is Kind.POLICY):
        found += slow_start(workload, seconds)
    found += [
        f"{run.name}: {policy} never had a say: {why}."
        for run in comparison.runs
        for policy, why in run.decided.silent
    ]
    if comparison.unequal_nodes:
        found.append(
            "Runs that have GPU-hours of nodes wait for nodes; the others, among them those that "
            "all are measured against, always have room: give every policy file the same node pool "
            "to measure all alike."
        )
    return found


def words_of(comparison: Comparison) -> dict[str, str]:
    """Return the words that the page uses, and what each means."""
    lead = duration(comparison.workload.spec.replica.cold_start_seconds)
    return {
        "served as promised": (
            f"{promise(comparison.slo)} Each request is judged by itself; one that was refused, "
            "or had no full answer at the end, counts as not served as promised."
        ),
        "GPU-hours": (
            "GPUs times hours from when they are taken to when they are given back. A replica "
            "that still starts, or only finishes what it has, is paid for as well."
        ),
        "asked for, ready": (
            f"A replica that is asked for serves {lead} later. In between it costs and does "
            "nothing: the answer to a burst comes late unless the burst was expected."
        ),
        "static-peak": (
            "Never scales: the fewest replicas that keep the promise in every single minute. "
            "What one buys to be safe without an autoscaler."
        ),
        "static-best": (
            "Never scales: the fewest replicas that keep the promise over the whole trace. "
            "Nobody knows this number beforehand."
        ),
        "clairvoyant": (
            "A plan that knows every arrival beforehand, asks for replicas one cold start early, "
            "and was improved by simulation. A strong reference, not a proven optimum. What a "
            "policy spent, and whom it failed, beyond that plan is its regret."
        ),
        "p95": "95 % of the values are at most this.",
        "how far to trust this": (
            "The controller, policies and rules are those that run live; traffic, replicas and "
            "latencies are simulated. The order of the runs is safer than their numbers: repeat "
            "the comparison with other profiles, cold starts and seeds before relying on it."
        ),
    }


def made_of(comparison: Comparison) -> str:
    """Return what the page was made with."""
    settings = comparison.settings
    return (
        f"Made by inference-autoscaler {version('inference-autoscaler')}: a control cycle every "
        f"{duration(settings.interval_seconds)}, signals scraped every "
        f"{duration(settings.scrape_seconds)}, seed {settings.seed}, spread of cold starts "
        f"{settings.cold_start_spread:g}."
    )
