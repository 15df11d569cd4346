"""Settings: flags over environment over file over defaults; every problem says where it stands."""

from pathlib import Path
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from autoscaler.adapters.prometheus.settings import SourceSettings
from autoscaler.core.errors import ConfigError
from autoscaler.settings import (
    PREFIX,
    Settings,
    document,
    gather,
    read_settings,
    snake,
    unknown_variables,
)
from autoscaler.settings.model import ONE_SOURCE
from autoscaler.settings.page import EXAMPLE


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def a_file(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_file(tmp_path, "intervalSeconds: 20\nleaseName: ours\nlistenPort: 1234\n")
    monkeypatch.setenv("AUTOSCALER_INTERVAL_SECONDS", "30")
    monkeypatch.setenv("AUTOSCALER_LEASE_NAME", "theirs")

    settings = read_settings(file, {"interval_seconds": 40.0, "shadow": None})

    assert settings.interval_seconds == 40
    assert (settings.lease_name, settings.listen_port, settings.shadow) == ("theirs", 1234, False)


def test_the_source_called_default_needs_only_an_address() -> None:
    settings = read_settings(flags={"prometheus": "http://localhost:9090/"})

    assert [(source.name, source.url) for source in settings.all_sources] == [
        ("default", "http://localhost:9090")
    ]


def test_several_sources_come_from_a_file_or_from_json_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_file(
        tmp_path,
        """
        sources:
          - {name: eu, url: "http://eu:9090", headers: {X-Scope-OrgID: team}}
          - {name: us, url: "http://us:9090", timeoutSeconds: 3}
        """,
    )
    assert [source.name for source in read_settings(file).all_sources] == ["eu", "us"]

    monkeypatch.setenv("AUTOSCALER_SOURCES", '[{"name": "asia", "url": "http://asia:9090"}]')
    assert [source.name for source in read_settings(file).all_sources] == ["asia"]


def test_deadlines_follow_the_interval_unless_they_are_set() -> None:
    assert read_settings(flags={"interval_seconds": 30}).looking_seconds == 18
    assert read_settings(flags={"act_seconds": 2.0}).acting_seconds == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", None, id="empty"),
        pytest.param(
            "intervalSeconds: 0", "1: intervalSeconds: input should be greater than", id="too small"
        ),
        pytest.param(
            "\nlistenPort: many", "2: listenPort: input should be a valid integer", id="no number"
        ),
        pytest.param("interval: 3", "1: interval: no setting has this name", id="unknown"),
        pytest.param(
            "listenprot: 3", "no setting has this name; did you mean 'listenPort'?", id="misspelt"
        ),
        pytest.param(
            "sources: {url: 'http://me:secret@host'}",
            "1: sources: should be a list of sources, such as [{name: default, url: "
            "'http://prometheus.monitoring:9090'}], not a mapping",
            id="a mapping of sources",
        ),
        pytest.param(
            "sources: http://me:secret@host", "should be a list of sources", id="an address"
        ),
        pytest.param("- 3", "should be one mapping of settings", id="a list"),
        pytest.param("a: [", ":1:", id="not YAML"),
        pytest.param("shadow: true\nshadow: false", "shadow", id="twice"),
        pytest.param(
            "prometheus: 'ftp://user:secret@host'",
            "1: prometheus: url should begin with http:// or https://",
            id="no address",
        ),
        pytest.param(
            "sources: [{name: a, url: 'file:///secret'}]",
            "1: sources.0.url: url should begin with",
            id="a source without address",
        ),
        pytest.param(
            "sources: [{name: a, url: 'http://h', timeout: 3}]",
            "sources.0.timeout: extra inputs are not permitted",
            id="unknown name of a source",
        ),
        pytest.param(
            "prometheus: http://a\nsources: [{name: default, url: 'http://h'}]",
            "should have different names",
            id="two of one name",
        ),
        pytest.param("renewSeconds: 15", "renewSeconds should be less than", id="renews too late"),
        pytest.param("retrySeconds: 7", "should fit into renewSeconds", id="retries too late"),
        pytest.param("observeSeconds: 14", "should fit into intervalSeconds", id="no time to act"),
        pytest.param("state: file", "stateFile should be given", id="no file"),
        pytest.param("tlsKeyFile: a", "should be given together", id="half a certificate"),
    ],
)
def test_what_is_wrong_in_a_file(tmp_path: Path, text: str, says: str | None) -> None:
    file = a_file(tmp_path, text)
    if says is None:
        assert read_settings(file) == read_settings()
        return

    with pytest.raises(ConfigError) as told:
        read_settings(file)

    assert says in str(told.value)
    assert "secret" not in str(told.value)


def test_a_file_that_is_not_there_or_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_settings(tmp_path / "absent.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_settings(tmp_path / "bytes.yaml")


@pytest.mark.parametrize(
    ("variable", "flags", "says"),
    [
        ("AUTOSCALER_LISTEN_PORT", {}, "AUTOSCALER_LISTEN_PORT: input should be"),
        ("AUTOSCALER_SHADOW", {"interval_seconds": 0.5}, "--interval-seconds: input should be"),
    ],
)
def test_a_problem_names_the_variable_or_the_flag(
    variable: str, flags: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "maybe")

    with pytest.raises(ConfigError, match=says):
        read_settings(flags=flags)


@pytest.mark.parametrize(
    "text",
    ["x", "", "{secret: 1}", "[{name: a, url: 'http://me:secret@h'", "a: b: secret", "[]\n---\n[]"],
)
def test_sources_in_the_environment_that_are_no_list_are_one_line_that_names_the_variable(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOSCALER_SOURCES", text)

    with pytest.raises(ConfigError) as told:
        read_settings()

    (line,) = str(told.value).splitlines()
    assert line.startswith("AUTOSCALER_SOURCES: should be a list of sources, such as [{name: ")
    assert "secret" not in line


def test_the_least_list_that_a_message_offers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOSCALER_SOURCES", ONE_SOURCE)

    (source,) = read_settings().all_sources

    assert (source.name, source.url) == ("default", "http://prometheus.monitoring:9090")


def test_several_bad_settings_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_file(tmp_path, "leaseName: a\ninterval: 3\nlistenAdress: b\n")
    monkeypatch.setenv("AUTOSCALER_SHADOW", "maybe")

    with pytest.raises(ConfigError) as told:
        read_settings(file, {}, ["foo=1", "listenPort=abc", "secret"])

    assert [line.partition(",")[0] for line in str(told.value).splitlines()] == [
        f"{file}:2: interval: no setting has this name; did you mean 'intervalSeconds'?",
        f"{file}:3: listenAdress: no setting has this name; did you mean 'listenAddress'?",
        "--set foo: no setting has this name",
        "--set: should be NAME=VALUE",
        "AUTOSCALER_SHADOW: input should be a valid boolean",
        "--set listenPort: input should be a valid integer",
    ]


def test_a_flag_wins_over_set_and_set_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUTOSCALER_LISTEN_PORT", "1")
    monkeypatch.setenv("AUTOSCALER_LEASE_NAME", "theirs")

    settings, places = gather(
        None, {"listen_port": 3}, ["listenPort=2", "lease_name=ours", "stateName=a=b"]
    )

    assert (settings.listen_port, settings.lease_name) == (3, "ours")
    assert settings.state_name == "a=b"
    assert (places["listenPort"], places["leaseName"]) == ("--listen-port", "--set leaseName")


def test_a_variable_that_is_nearly_a_setting_is_told() -> None:
    environment = {
        "AUTOSCALER_PROMETEUS": "http://a:9090",
        "AUTOSCALER_LEASE_NAME": "a",
        "AUTOSCALER_ELSE": "a",
        "HOME": "",
    }

    assert unknown_variables(environment) == (
        "AUTOSCALER_ELSE: no setting has this name, so it is passed over",
        (
            "AUTOSCALER_PROMETEUS: no setting has this name, so it is passed over; did you mean "
            "'AUTOSCALER_PROMETHEUS'?"
        ),
    )


def test_variables_that_kubernetes_makes_of_a_service_are_none_of_ours() -> None:
    environment = {
        "AUTOSCALER_SERVICE_HOST": "10.0.0.1",
        "AUTOSCALER_SERVICE_PORT": "8090",
        "AUTOSCALER_SERVICE_PORT_HTTP": "8090",
        "AUTOSCALER_PORT": "tcp://10.0.0.1:8090",
        "AUTOSCALER_PORT_8090_TCP": "tcp://10.0.0.1:8090",
        "AUTOSCALER_PORT_8090_TCP_ADDR": "10.0.0.1",
        "AUTOSCALER_DEBUG": "1",
    }

    assert unknown_variables(environment) == ()


def test_the_pods_namespace_is_ours_unless_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = tmp_path / "namespace"
    pod.write_text("scalers\n")
    monkeypatch.setattr("autoscaler.settings.reading._POD_NAMESPACE", pod)

    assert read_settings().namespace == "scalers"
    assert read_settings(flags={"namespace": "other"}).namespace == "other"


def test_every_setting_says_what_it_is() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_a_setting_is_known_by_both_its_names() -> None:
    assert snake("intervalSeconds") == snake("interval_seconds") == "interval_seconds"


def test_the_page_of_settings_is_as_the_code_has_them() -> None:
    page = Path(__file__).parents[1] / "autoscaler" / "SETTINGS.md"

    assert page.read_text() == document() + "\n", "autoscaler settings --markdown > that file"


def test_the_example_of_the_page_is_a_file_that_is_taken(tmp_path: Path) -> None:
    settings = read_settings(a_file(tmp_path, EXAMPLE))

    prometheus, mimir = settings.all_sources
    assert EXAMPLE in document()
    assert (prometheus.name, prometheus.url) == (
        "default", "https://prometheus.monitoring:9090",
    )  # fmt: skip
    assert prometheus.auth is not None
    assert prometheus.auth.bearer_token_file == Path("/var/run/secrets/prometheus/token")
    assert prometheus.tls.ca_file == Path("/etc/prometheus-ca/ca.crt")
    assert mimir.headers == {"X-Scope-OrgID": "team-llm"}


def test_the_line_of_the_page_for_the_environment_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (line,) = [one for one in document().splitlines() if one.startswith("export ")]
    name, _, value = line.removeprefix("export ").partition("=")
    monkeypatch.setenv(name, value.strip("'"))

    (source,) = read_settings().all_sources

    assert source.tls.ca_file == Path("/etc/prometheus-ca/ca.crt")


def test_the_page_tells_every_field_of_a_source() -> None:
    page = document()

    for path in ("auth.bearerTokenFile", "auth.basic.passwordFile", "tls.caFile", "headers"):
        assert f"| `{path}` |" in page
    for name, field in SourceSettings.model_fields.items():
        assert f"| `{to_camel(name)}` |" in page
        assert field.description, name


def test_settings_are_shown_without_passwords_and_with_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = a_file(tmp_path, "sources: [{name: eu, url: 'http://me:secret@eu'}]\nshadow: true")
    monkeypatch.setenv("AUTOSCALER_PROMETHEUS", "http://me:secret@default:9090")

    settings, places = gather(file)
    shown = settings.shown()

    assert "secret" not in str(shown)
    assert (shown["shadow"], shown["prometheus"]) == ("yes", "http://default:9090")
    assert shown["sources"] == "eu http://eu"
    assert places["shadow"] == f"{file}:2: shadow"
    assert places["prometheus"] == "AUTOSCALER_PROMETHEUS"
