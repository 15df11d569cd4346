"""What decisions remember, kept between processes: whole, or not at all."""

import hashlib
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.core.past import Mark, Past
from autoscaler.core.planner import FleetState
from autoscaler.state import FileStore, StateError, adopt, dump_state, load_state, restore
from tests.builders import NOON, Wants, a_fleet, a_workload

CHAT, CODE = a_workload(Wants(replicas=2), name="chat"), a_workload(Wants(replicas=2), name="code")
FLEET = a_fleet(CHAT, CODE)
STATE = FleetState(
    {
        CHAT.key: Past(
            recommendations=(Mark(NOON, 4),),
            scale_ups=(Mark(NOON - 5, 2, outdated=True),),
            turns=(NOON,),
            direction=1,
            desired=4,
            asleep=False,
            memories={"0:kpa": {"panic": None, "window": [1.5, 2.0]}},
        ),
        "llm/gone": Past(desired=1),
    },
    {"h100": (Mark(NOON, 3),)},
    {"h100": 4},
)


class Memory:
    """A store that holds what it is given."""

    def __init__(self, data: bytes | None) -> None:
        self.data = data

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data


def test_what_is_saved_is_found_again() -> None:
    assert load_state(dump_state(STATE, NOON)) == (STATE, NOON)
    assert dump_state(STATE, NOON) == dump_state(STATE, NOON)


TIMES = st.floats(0, 2e9)
MARKS = st.lists(st.builds(Mark, TIMES, st.integers(0, 500), st.booleans()), max_size=5).map(tuple)
PASTS = st.builds(
    Past,
    recommendations=MARKS,
    scale_ups=MARKS,
    scale_downs=MARKS,
    starting=MARKS,
    turns=st.lists(TIMES, max_size=3).map(tuple),
    direction=st.sampled_from([-1, 0, 1]),
    desired=st.none() | st.integers(0, 500),
    asleep=st.none() | st.booleans(),
    blind_since=st.none() | TIMES,
    memories=st.dictionaries(st.text(), st.dictionaries(st.text(), TIMES | st.text())),
    unproven_since=st.none() | TIMES,
    restored=st.booleans(),
)


@given(st.builds(FleetState, st.dictionaries(st.text(), PASTS), st.dictionaries(st.text(), MARKS)))
def test_any_state_is_found_again(state: FleetState) -> None:
    assert load_state(dump_state(state, NOON)) == (state, NOON)


COUNTS = {"counts": {CHAT.key: ["uid", 4, NOON, None, [5]], "llm/gone": ["uid", 1, NOON, 3, []]}}
FOUND = {"counts": {CHAT.key: ["uid", 4, NOON, None, [5]]}}


@pytest.mark.parametrize(
    ("saved", "found"),
    [
        pytest.param(dump_state(STATE, NOON - 5, COUNTS), FOUND, id="fresh"),
        pytest.param(dump_state(STATE, NOON - 86_400, COUNTS), FOUND, id="a day old"),
        pytest.param(dump_state(STATE, NOON - 5), {}, id="without any"),
        pytest.param(dump_state(STATE, NOON - 5, {"counts": ["odd"]}), {}, id="something else"),  # type: ignore[dict-item]
        pytest.param(dump_state(STATE, NOON - 5, COUNTS)[:-1], {}, id="damaged"),
        pytest.param(None, {}, id="nothing"),
    ],
)
def test_what_is_remembered_of_numbers_is_kept_beside_the_state_and_is_never_too_old(
    saved: bytes | None, found: dict[str, object]
) -> None:
    assert restore(Memory(saved), FLEET, NOON, max_age_seconds=900).kept == found


def test_a_state_is_the_same_whatever_is_kept_beside_it() -> None:
    assert load_state(dump_state(STATE, NOON, COUNTS)) == (STATE, NOON)
    assert dump_state(STATE, NOON, COUNTS) == dump_state(STATE, NOON, dict(COUNTS))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(None, "no saved state was found", id="absent"),
        pytest.param(b"", "not one of ours", id="empty"),
        pytest.param(b"[1]\n{}", "not one of ours", id="something else"),
        pytest.param(dump_state(STATE, NOON)[:-9], "checksum", id="half of it"),
        pytest.param(
            dump_state(STATE, NOON).replace(b'"version":3', b'"version":9'), "version 9", id="later"
        ),
        pytest.param(dump_state(STATE, NOON - 901), "901 s old", id="too old"),
        pytest.param(dump_state(STATE, NOON + 901), "-901 s old", id="from the future"),
    ],
)
def test_what_cannot_be_trusted_is_no_state(data: bytes | None, says: str) -> None:
    restored = restore(Memory(data), FLEET, NOON, max_age_seconds=900)

    assert says in restored.problem
    assert {past.unproven_since for past in restored.state.pasts.values()} == {NOON}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"pasts": 3}, id="no pasts"),
        pytest.param({"pasts": {"llm/chat": {}}}, id="an empty past"),
        pytest.param({"pasts": {"llm/chat": 3}}, id="no past"),
        pytest.param({"nodes_needed": {"h100": [{"time": 1.0}]}}, id="half a mark"),
        pytest.param({"nodes_needed": {"h100": [{"time": "x", "count": 1}]}}, id="no time"),
        pytest.param({"nodes_seen": {"h100": 1.5}}, id="no whole node"),
    ],
)
def test_a_body_of_another_shape_is_no_state(fields: dict[str, object]) -> None:
    sound = {"pasts": {}, "nodes_needed": {}, "nodes_seen": {}, "led": True}
    body = orjson.dumps(sound | fields)
    head = b'{"saved":1.0,"sha256":"%s","version":3}' % hashlib.sha256(body).hexdigest().encode()

    with pytest.raises(StateError, match="does not fit this version"):
        load_state(head + b"\n" + body)


def test_a_restored_past_is_marked_and_what_is_new_begins_unproven() -> None:
    restored = restore(Memory(dump_state(STATE, NOON - 20)), FLEET, NOON, max_age_seconds=900)

    assert restored.problem == ""
    assert restored.state.pasts[CHAT.key].restored
    assert restored.state.pasts[CHAT.key].memories == STATE.pasts[CHAT.key].memories
    assert restored.state.pasts[CODE.key] == Past(unproven_since=NOON)
    assert "llm/gone" not in restored.state.pasts
    assert restored.state.nodes_needed == {}


def test_a_reload_keeps_what_is_still_there() -> None:
    state = adopt(STATE, a_fleet(CHAT), NOON)

    assert state.pasts == {CHAT.key: STATE.pasts[CHAT.key]}


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "state")
    assert store.load() is None

    store.save(b"one")
    store.save(b"two")

    assert store.load() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_file_that_cannot_be_read_or_written_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    store = FileStore(folder)

    with pytest.raises(StateError, match="is a directory"):
        store.load()
    with pytest.raises(StateError, match="is a directory"):
        store.save(b"one")
    assert restore(store, FLEET, NOON, max_age_seconds=1).problem.endswith("is a directory")
    assert list(folder.iterdir()) == []


def test_a_state_from_before_a_gap_counts_the_last_sizes_as_wanted() -> None:
    kept = Memory(dump_state(STATE, NOON))
    soon = restore(kept, FLEET, NOON + 59, max_age_seconds=900)
    late = restore(kept, FLEET, NOON + 600, max_age_seconds=900)

    assert soon.state.pasts[CHAT.key].recommendations == (Mark(NOON, 4),)
    assert late.state.pasts[CHAT.key].recommendations == (Mark(NOON + 600, 4),)


def lately(*marks: Mark) -> FleetState:
    """A standby's own state: it saw 6 replicas and recommended these."""
    past = Past(recommendations=marks, desired=6, unproven_since=NOON - 40, scale_ups=marks[-1:])
    return FleetState({CHAT.key: past, CODE.key: Past(desired=1)}, {}, {"h100": 5}, led=False)


def test_who_takes_over_goes_on_from_the_saved_state_and_what_was_recommended_since() -> None:
    own = lately(Mark(NOON - 30, 5), Mark(NOON - 5, 3))
    saved = Memory(dump_state(STATE, NOON - 20))

    taken = restore(saved, FLEET, NOON, max_age_seconds=900, own=own).state

    chat = taken.pasts[CHAT.key]
    assert chat.recommendations == (*STATE.pasts[CHAT.key].recommendations, Mark(NOON - 5, 3))
    assert chat.scale_ups == STATE.pasts[CHAT.key].scale_ups
    assert (chat.desired, chat.unproven_since, chat.restored) == (4, None, True)
    assert taken.pasts[CODE.key].desired == 1  # the leader knew nothing of it
    assert taken.led


def test_who_takes_over_what_was_saved_long_ago_fills_the_gap_with_what_it_saw() -> None:
    saved = Memory(dump_state(STATE, NOON - 600))

    seen = restore(saved, FLEET, NOON, max_age_seconds=900, own=lately(Mark(NOON - 5, 3)))
    unseen = restore(saved, FLEET, NOON, max_age_seconds=900, own=lately())

    assert seen.state.pasts[CHAT.key].recommendations[-1] == Mark(NOON - 5, 3)
    assert unseen.state.pasts[CHAT.key].recommendations[-1] == Mark(NOON, 4)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(None, id="gone"),
        pytest.param(dump_state(STATE, NOON)[:-1], id="damaged"),
        pytest.param(dump_state(STATE, NOON - 901, COUNTS), id="too old"),
    ],
)
def test_who_takes_over_nothing_goes_on_from_its_own_state(data: bytes | None) -> None:
    own = lately(Mark(NOON - 5, 3))

    restored = restore(Memory(data), FLEET, NOON, max_age_seconds=900, own=own)

    assert restored.state is own
    assert restored.problem
