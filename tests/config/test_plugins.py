"""Plug-ins by entry point: other people's packages, in order and broken."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autoscaler import plugins
from autoscaler.config import load_fleet
from autoscaler.core.errors import ConfigError
from tests.config.texts import changed, problems_in

OURS = ", ".join(plugins.policy_types())

FIXED = """
from typing import Literal
from autoscaler.core.policy import Policy, Recommendation

class Fixed(Policy):
    '''Run a fixed number of replicas.'''

    type: Literal["fixed"] = "fixed"
    replicas: int
    '''How many.'''

    def recommend(self, observation):
        return Recommendation(self.replicas, f"always {self.replicas}")

def least(votes, current):
    '''The fewest.'''
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Put a distribution on the path: its name, its module's text, its entry points."""
    modules: list[str] = []

    def put(name: str, text: str, *, policies: str = "", combiners: str = "") -> None:
        site = tmp_path / f"site-{name}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[autoscaler.policies]\n{policies}\n[autoscaler.combiners]\n{combiners}\n"
        )
        module = name.replace("-", "_")
        (site / f"{module}.py").write_text(text)
        modules.append(module)
        monkeypatch.syspath_prepend(str(site))
        plugins._installed.cache_clear()

    yield put
    plugins._installed.cache_clear()
    for module in modules:
        sys.modules.pop(module, None)


def refusal(load: Callable[[str], object], name: str) -> str:
    with pytest.raises(ConfigError) as refused:
        load(name)
    return str(refused.value)


def test_lists_what_is_installed_and_loads_nothing(install: Install) -> None:
    install("acme", "raise RuntimeError('loaded')", policies="fixed = acme:Fixed")

    assert "fixed" in plugins.policy_types()
    assert list(plugins.policy_types()) == sorted(plugins.policy_types())
    assert plugins.combiners() == ("first-live", "highest", "vote")
    assert "acme" not in sys.modules


def test_a_policy_of_another_package_works_in_a_policy_file(install: Install) -> None:
    install("acme", FIXED, policies="fixed = acme:Fixed", combiners="least = acme:least")
    Path("a.yaml").write_text(
        changed(
            ("{type: queue-drain, signal: queue_length}", "{type: fixed, replicas: 3}"),
            ("combine: highest", "combine: least"),
        )
    )

    fleet = load_fleet([Path("a.yaml")])

    assert fleet.workloads[0].spec.policies[0].type == "fixed"
    assert fleet.combiners["least"].__doc__ == "The fewest."
    assert plugins.policy_origin("fixed") == "acme 1.0"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param(
            "target-traking",
            "no policy is called 'target-traking'; did you mean 'target-tracking'?; "
            f"installed are: {OURS}",
            id="misspelt",
        ),
        pytest.param("", f"no policy is called ''; installed are: {OURS}", id="nothing"),
        pytest.param(
            "a\nb\x1b[31m",
            f"no policy is called 'a\\nb\\x1b[31m'; installed are: {OURS}",
            id="control characters",
        ),
    ],
)
def test_an_unknown_policy_lists_the_known(name: str, message: str) -> None:
    assert refusal(plugins.load_policy_type, name) == message


def test_an_unknown_combiner_lists_the_known() -> None:
    assert refusal(plugins.load_combiner, "median") == (
        "no combiner is called 'median'; installed are: first-live, highest, vote"
    )


def test_says_so_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_installed", lambda group: {})

    assert refusal(plugins.load_policy_type, "hpa") == (
        "no policy is called 'hpa'; installed are: none"
    )


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        pytest.param(
            "import nowhere_to_be_found",
            "acme:Fixed",
            "policy 'fixed' of acme 1.0: acme:Fixed cannot be imported: "
            "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
            id="import fails",
        ),
        pytest.param(
            "raise ZeroDivisionError('one\\ntwo')",
            "acme:Fixed",
            "policy 'fixed' of acme 1.0: acme:Fixed cannot be imported: ZeroDivisionError: one",
            id="module raises",
        ),
        pytest.param(
            "raise SystemExit(3)",
            "acme:Fixed",
            "policy 'fixed' of acme 1.0: acme:Fixed cannot be imported: SystemExit: 3",
            id="module exits",
        ),
        pytest.param(
            "",
            "acme:Fixed",
            "policy 'fixed' of acme 1.0: acme:Fixed cannot be imported: "
            "AttributeError: module 'acme' has no attribute 'Fixed'",
            id="no such class",
        ),
        pytest.param(
            "class Fixed: ...",
            "acme:Fixed",
            "policy 'fixed' of acme 1.0: acme:Fixed should be a subclass of "
            "autoscaler.core.policy.Policy, not the class Fixed",
            id="another class",
        ),
        pytest.param(
            "Fixed = 3",
            "acme:Fixed",
            "policy 'fixed' of acme 1.0: acme:Fixed should be a subclass of "
            "autoscaler.core.policy.Policy, not int",
            id="no class",
        ),
    ],
)
def test_a_broken_plug_in_is_named_with_its_package(
    install: Install, text: str, target: str, message: str
) -> None:
    install("acme", text, policies=f"fixed = {target}")

    assert refusal(plugins.load_policy_type, "fixed") == message
    assert problems_in(
        {"a.yaml": changed(("{type: queue-drain, signal: queue_length}", "{type: fixed}"))}
    ) == [f"a.yaml:19: spec.policies[0].type: {message}"]


def test_a_combiner_must_be_a_function(install: Install) -> None:
    install("acme", "least = 3", combiners="least = acme:least")

    assert refusal(plugins.load_combiner, "least") == (
        "combiner 'least' of acme 1.0: acme:least should be a function of votes and the present "
        "size, not int"
    )


def test_two_packages_may_not_claim_one_name(install: Install) -> None:
    install("acme", FIXED, policies="fixed = acme:Fixed")
    install("bolt", FIXED, policies="fixed = bolt:Fixed")

    assert refusal(plugins.load_policy_type, "fixed") == (
        "two packages install a policy called 'fixed': acme 1.0 and bolt 1.0; uninstall one of them"
    )
    assert plugins.load_policy_type("hpa").__name__ == "Hpa"


def test_a_validator_that_breaks_is_told_in_one_line(install: Install) -> None:
    install(
        "acme",
        FIXED.replace(
            "    def recommend",
            "    def model_post_init(self, context):\n        raise KeyError('oops')\n\n"
            "    def recommend",
        ),
        policies="fixed = acme:Fixed",
    )
    text = changed(("{type: queue-drain, signal: queue_length}", "{type: fixed, replicas: 3}"))

    assert problems_in({"a.yaml": text}) == [
        "a.yaml:19: spec.policies[0]: Fixed failed on these parameters: KeyError: 'oops'"
    ]


def test_signals_that_cannot_be_told_are_a_problem_too(install: Install) -> None:
    install(
        "acme",
        FIXED.replace(
            "    def recommend",
            "    @property\n    def needs(self):\n        return 1 / 0\n\n    def recommend",
        ),
        policies="fixed = acme:Fixed",
    )
    text = changed(("{type: queue-drain, signal: queue_length}", "{type: fixed, replicas: 3}"))

    assert problems_in({"a.yaml": text}) == [
        (
            "a.yaml:19: spec.policies[0]: Fixed failed on these parameters: "
            "ZeroDivisionError: division by zero"
        )
    ]
