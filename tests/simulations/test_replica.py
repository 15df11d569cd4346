"""One replica: worked by hand to the microsecond, and against a model without shortcuts."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.profiles import Profile, profiles
from simulations.replica import Replica
from simulations.request import End, Request
from tests.simulations.builders import a_profile, a_request
from tests.simulations.naive_replica import NaiveReplica


def serve(profile: Profile, *rows: tuple[float, int, int]) -> tuple[Replica, list[Request]]:
    """Route each row (arrival, prompt, output) on arrival, then let everything finish."""
    replica = Replica(profile)
    requests = [Request(i, *row) for i, row in enumerate(rows)]
    for request in requests:
        replica.advance(request.arrival)
        replica.join(request, request.arrival)
    replica.advance(1e9)
    return replica, requests


def exactly(seconds: float) -> object:
    """Equal to well below a microsecond."""
    return pytest.approx(seconds, rel=0, abs=1e-9)


def test_one_request_alone_takes_its_prompt_and_then_a_step_for_each_token() -> None:
    law = profiles()["llama-3.1-70b/h100/tp4/bfloat16"]
    # a 16.117 ms, b 58.88 us, n0 128, c 8.64 us, d 26.58 ns, e 3.571 ns, overhead 8 ms
    prefill = 16.117e-3 + 58.88e-6 * (1000 - 128) + 3.571e-9 * (1000 * 500)
    first_decode = 16.117e-3 + 8.64e-6 + 26.58e-9 * 1001
    second_decode = 16.117e-3 + 8.64e-6 + 26.58e-9 * 1002

    replica, (request,) = serve(law, (5.0, 1000, 3))

    assert request.ttft_seconds == exactly(prefill + 8e-3)
    assert request.e2e_seconds == exactly(prefill + first_decode + second_decode + 8e-3)
    assert request.itl_seconds == exactly((first_decode + second_decode) / 2)
    assert request.widest_gap == exactly(second_decode)
    assert request.admitted == 5.0
    assert request.end is End.FINISHED
    assert replica.steps == 3
    assert replica.kv_used == 0
    assert replica.busy_seconds(100.0) == exactly(prefill + first_decode + second_decode)


def test_a_long_prompt_is_read_in_pieces_of_the_budget() -> None:
    profile = a_profile(token_seconds=1e-3, attended_seconds=1e-6, step_tokens=100)
    pieces = [
        0.010 + 100e-3 + 1e-6 * 100 * 50,
        0.010 + 100e-3 + 1e-6 * 100 * (100 + 50),
        0.010 + 50e-3 + 1e-6 * 50 * (200 + 25),
    ]

    replica, (request,) = serve(profile, (0.0, 250, 1))

    assert request.ttft_seconds == exactly(sum(pieces))
    assert replica.steps == 3
    assert request.itl_seconds is None


def test_the_rest_of_the_budget_goes_to_the_next_prompt() -> None:
    """60 + 60 tokens at 100 a step: the second prompt is read 40 and 20."""
    _, (first, second) = serve(a_profile(), (0.0, 60, 1), (0.0, 60, 1))

    assert first.first_token == exactly(0.010)
    assert second.first_token == exactly(0.020)
    assert second.admitted == 0.0


def test_decodes_take_their_budget_before_prompts() -> None:
    """One decode leaves 99 of 100 tokens, so a prompt of 100 needs two steps."""
    _, (decoding, reading) = serve(a_profile(), (0.0, 10, 5), (0.005, 100, 1))

    assert decoding.finished == exactly(0.050)
    assert reading.first_token == exactly(0.030)


def test_steps_with_prompts_cost_more_for_each_kv_token_where_the_profile_says_so() -> None:
    profile = a_profile(kv_token_seconds=1e-6, kv_token_seconds_mixed=5e-6)
    # Step 2 reads 11 tokens of the first beside the second's prompt; step 3 reads both.
    mixed, alone = 0.010 + 5e-6 * 11, 0.010 + 1e-6 * (12 + 11)

    _, (first, second) = serve(profile, (0.0, 10, 3), (0.005, 10, 2))

    assert first.finished == exactly(0.010 + mixed + alone)
    assert second.first_token == exactly(0.010 + mixed)


def test_what_is_routed_during_a_step_joins_at_its_end() -> None:
    _, (_, second) = serve(a_profile(), (0.0, 10, 2), (0.001, 10, 1))

    assert second.admitted == exactly(0.010)
    assert second.first_token == exactly(0.020)


def test_requests_of_one_moment_share_a_step() -> None:
    _, requests = serve(a_profile(), (1.0, 10, 1), (1.0, 10, 1), (1.0, 10, 1))

    assert [request.first_token for request in requests] == [exactly(1.010)] * 3


def test_seats_are_limited() -> None:
    _, requests = serve(a_profile(max_sequences=2), *[(0.0, 10, 3)] * 3)

    assert [request.admitted for request in requests] == [0.0, 0.0, exactly(0.030)]


def test_the_head_of_the_wait_list_blocks_those_behind_it() -> None:
    """50 of 100 KV tokens are free: the head needs 60, the small one behind it waits too."""
    _, (_, head, small) = serve(a_profile(kv_tokens=100), (0.0, 50, 3), (0.0, 60, 1), (0.0, 5, 1))

    assert head.admitted == exactly(0.030)
    assert small.admitted == exactly(0.030)


def test_the_youngest_is_preempted_and_reads_all_again() -> None:
    """Two of 10 + 4 tokens in a cache of 23: the third decode's places are one too few.

    Step 1 reads both prompts (20 places), step 2 writes a token each (22). In step 3 two more
    places make 24: the second gives up its 11, and later reads 10 + 2 tokens again.
    """
    replica, (first, second) = serve(a_profile(kv_tokens=23), (0.0, 10, 4), (0.0, 10, 4))

    assert first.finished == exactly(0.040)
    assert (first.preemptions, second.preemptions, replica.preemptions) == (0, 1, 1)
    # It waits for steps 3 and 4, then reads 12 tokens (its third), then decodes its fourth.
    assert second.first_token == exactly(0.010)
    assert second.finished == exactly(0.060)
    assert second.widest_gap == exactly(0.030)
    assert first.widest_gap == exactly(0.010)
    assert replica.output_tokens == 8
    assert replica.prompt_tokens == 20
    assert sum(replica.itl.counts) == 6
    assert sum(replica.ttft.counts) == sum(replica.e2e.counts) == 2


def test_a_prompt_that_is_read_in_part_is_preempted_first() -> None:
    profile = a_profile(kv_tokens=52, step_tokens=10)

    replica, (first, second) = serve(profile, (0.0, 10, 5), (0.0, 40, 1))

    assert replica.preemptions == 1
    assert (first.preemptions, second.preemptions) == (0, 1)
    assert first.finished == exactly(0.050)
    assert second.first_token == exactly(0.090)


def test_a_request_that_can_never_fit_is_refused() -> None:
    replica = Replica(a_profile(kv_tokens=12))
    replica.join(a_request(0, prompt=10, output=3), 0.0)

    with pytest.raises(
        ValueError, match="request 1 can never fit: prompt and answer have 14 tokens, at most 13"
    ):
        replica.join(a_request(1, prompt=10, output=4), 0.0)

    replica.advance(1.0)
    assert replica.completions == 1


def test_a_step_in_progress_is_not_seen() -> None:
    replica = Replica(a_profile())
    replica.join(a_request(output=1), 0.0)

    replica.advance(0.009)

    assert (replica.outstanding, replica.running, replica.completions) == (1, 1, 0)
    assert replica.busy_seconds(0.009) == exactly(0.009)
    replica.advance(0.010)
    assert (replica.outstanding, replica.completions) == (0, 1)


def test_looking_more_often_changes_nothing() -> None:
    rows = [(0.01 * i, 30 + 7 * i, 5 + i % 3) for i in range(20)]
    _, once = serve(a_profile(kv_tokens=200, token_seconds=1e-4), *rows)

    replica = Replica(a_profile(kv_tokens=200, token_seconds=1e-4))
    often = [Request(i, *row) for i, row in enumerate(rows)]
    waiting = list(often)
    for tick in range(4000):
        while waiting and waiting[0].arrival <= tick * 0.001:
            replica.advance(waiting[0].arrival)
            replica.join(waiting[0], waiting.pop(0).arrival)
        replica.advance(tick * 0.001)

    assert [request.finished for request in often] == [request.finished for request in once]


laws = st.builds(
    a_profile,
    token_seconds=st.sampled_from([0.0, 1e-4]),
    free_tokens=st.sampled_from([0, 7]),
    sequence_seconds=st.sampled_from([0.0, 1e-3]),
    kv_token_seconds=st.sampled_from([0.0, 1e-5]),
    kv_token_seconds_mixed=st.sampled_from([0.0, 3e-5]),
    attended_seconds=st.sampled_from([0.0, 1e-6]),
    kv_tokens=st.integers(40, 120),
    max_sequences=st.integers(1, 6),
    step_tokens=st.integers(6, 40),
)
worlds = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 25), st.integers(1, 15)), min_size=1, max_size=15
).map(lambda rows: sorted((ms * 0.003, prompt, output) for ms, prompt, output in rows))


@given(profile=laws, rows=worlds)
def test_agrees_with_the_model_without_shortcuts(
    profile: Profile, rows: list[tuple[float, int, int]]
) -> None:
    model = NaiveReplica(profile, rows)
    model.run()

    replica, requests = serve(profile, *rows)

    assert replica.steps == model.steps
    assert replica.kv_used == 0
    for request, told in zip(requests, model.everyone, strict=True):
        gaps = [later - earlier for earlier, later in pairwise(told.tokens)]
        assert request.first_token == exactly(told.tokens[0])
        assert request.finished == exactly(told.tokens[-1])
        assert request.preemptions == told.preempted
        assert request.widest_gap == exactly(max(gaps, default=0.0))
    assert replica.output_tokens == sum(output for _, _, output in rows)


@given(profile=laws, rows=worlds)
def test_the_kv_cache_is_never_overfull(
    profile: Profile, rows: list[tuple[float, int, int]]
) -> None:
    replica = Replica(profile)
    waiting = [Request(i, *row) for i, row in enumerate(rows)]

    for tick in range(3000):
        now = tick * 0.003
        while waiting and waiting[0].arrival <= now:
            replica.join(waiting.pop(0), now)
        replica.advance(now)
        assert 0 <= replica.kv_used <= profile.kv_tokens
        assert replica.running <= profile.max_sequences


@given(rows=worlds)
def test_first_tokens_come_in_the_order_of_arrival(rows: list[tuple[float, int, int]]) -> None:
    """True wherever nobody is preempted."""
    _, requests = serve(a_profile(kv_tokens=10_000), *rows)

    times = [request.first_token or 0.0 for request in requests]
    assert times == sorted(times)
