"""What happened in each minute."""

import math

import numpy as np

from autoscaler.core.spec import Slo
from simulations.minutes import Minutes, meets_all, sum_of, worst_of
from simulations.request import Request


def answered(
    arrival: float, first: float, last: float, tokens: int = 11, failed: bool = False
) -> Request:
    request = Request(0, arrival, 10, tokens)
    request.failed = failed
    request.first_token, request.finished = arrival + first, arrival + last
    return request


def test_requests_count_in_the_minute_of_their_arrival() -> None:
    requests = [answered(59, 0.5, 5), answered(60, 2.0, 5), answered(130, 0.5, 5)]

    minutes = Minutes.of(requests, Slo(ttft_p95_seconds=1.0), 180.0)

    assert minutes.arrived.tolist() == [1, 1, 1]
    assert minutes.met.tolist() == [1, 0, 1]
    assert minutes.missed.tolist() == [0, 1, 0]


def test_latencies_count_in_the_minute_in_which_they_are_known() -> None:
    """The first token of the first request comes in the second minute, its end in the third."""
    requests = [answered(58, 4, 62), answered(61, 2, 12)]

    minutes = Minutes.of(requests, Slo(), 150.0)

    assert math.isnan(minutes.ttft_p95[0])
    assert minutes.ttft_p95[1] == np.percentile([4, 2], 95)
    assert minutes.itl_p95[1] == 1.0
    assert minutes.itl_p95[2] == 5.8
    assert minutes.e2e_p95.tolist()[1:] == [12.0, 62.0]


def test_a_request_that_never_ended_is_missed_and_has_no_latency() -> None:
    minutes = Minutes.of([Request(0, 5.0, 10, 10)], Slo(), 60.0)

    assert minutes.missed.tolist() == [1]
    assert np.isnan(minutes.ttft_p95).all()


def test_an_answer_of_one_token_has_no_time_between_tokens() -> None:
    assert meets_all(answered(0, 1, 1, tokens=1), Slo(itl_p95_seconds=0.001))
    assert not meets_all(answered(0, 1, 1, failed=True), Slo())
    assert not meets_all(answered(0, 1, 9), Slo(e2e_p95_seconds=8))


def test_bins_show_the_worst_and_the_sum() -> None:
    values = np.array([1.0, 3.0, math.nan, math.nan, 2.0])

    assert worst_of(values, 2).tolist()[0] == 3.0
    assert math.isnan(worst_of(values, 2)[1])
    assert worst_of(values, 2)[2] == 2.0
    assert sum_of(np.array([1, 2, 3, 4, 5]), 2).tolist() == [3, 7, 5]
