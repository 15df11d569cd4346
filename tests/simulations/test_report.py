"""The report: one page that needs nothing else, and that a real browser draws."""

import base64
import hashlib
import html
import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from autoscaler.cli.simulating import refuse_unwritable
from autoscaler.core.errors import ConfigError
from autoscaler.core.spec import Slo
from policies.reactive.target_tracking import TargetTracking
from simulations.compare import compare
from simulations.decisions import Change, Decided, Forecasts
from simulations.report import page, write_report
from simulations.report.columns import best, columns_of
from simulations.report.prose import cautions_of, promise
from simulations.report.series import MOST_POINTS, Grid, chart_data
from simulations.report.trade import BOTTOM, LEFT, RIGHT, TOP, trade_of
from simulations.report.words import counted, duration, share, signed, since_start
from simulations.run import Timeline
from simulations.runs import Candidate, Comparison
from tests.simulations.builders import Fixed, a_pool, a_workload
from tests.simulations.comparing import PROMISED, SETTINGS, SLOW, a_burst, a_comparison, serving

VENDORED = Path(__file__).parents[2] / "simulations" / "report" / "vendor" / "uplot"


def data_of(text: str) -> Any:
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert block is not None
    return json.loads(block[1])


def forecasting() -> Comparison:
    """The comparison, with forecasts that were right half of the time."""
    comparison = a_comparison()
    first = comparison.runs[0]
    times = np.arange(60.0, 300.0, 15.0)
    forecasts = Forecasts(
        policy="seasonal(load)",
        signal="load",
        quantiles=(0.5, 0.9),
        times=times,
        values=np.stack([times, 2 * times], axis=1),
        ahead_seconds=60.0,
        seen_times=times,
        seen=np.where(times < 180, times, 3 * times),
    )
    decided = replace(first.decided, forecasts=forecasts)
    return replace(comparison, runs=(replace(first, decided=decided), *comparison.runs[1:]))


def test_the_page_says_what_came_out_in_words() -> None:
    text = page(a_comparison())

    runs = {run.name: run for run in a_comparison().runs}
    assert "<title>Scaling policies compared on a-burst</title>" in text
    assert f"{len(a_burst()):,} requests in" in text
    assert "Promised is the first token within 1 s and tokens 100 ms apart or less" in text
    assert "No policy file keeps the promise to 80 % of all requests." in text
    assert f"bring {share(runs['static-best'].attainment)} for" in text
    for run in runs.values():
        assert f'<th scope="row">{run.name}<span' in text


def test_the_page_says_which_file_is_cheapest_among_those_that_keep_the_promise() -> None:
    steady = [Candidate(f"of-{n}", serving(Fixed(replicas=n), minimum=n)) for n in (6, 5)]

    text = page(compare(a_burst(120.0), steady, SETTINGS))

    assert "of-5 is the cheapest policy file that keeps the promise" in text


def test_every_change_stands_there_with_its_reason() -> None:
    comparison = a_comparison()
    text = html.unescape(page(comparison))

    changes = comparison.runs[0].decided.changes
    assert len(changes) > 1
    for change in changes:
        assert f"{change.before} → {change.after}" in text
        assert change.text in text
        assert change.because in text


def test_too_many_changes_are_cut_and_counted() -> None:
    comparison = a_comparison()
    change = Change(15.0, 1, 2, 2, "recommended", "up", "load", done=False)
    decided = Decided((change,) * 700, (("recommended", 700),))
    first = replace(comparison.runs[0], decided=decided)

    text = page(replace(comparison, runs=(first, *comparison.runs[1:])))

    assert "700 changes" in text
    assert text.count("1 → 2 (failed)") == 500
    assert "The first 500 changes are listed." in text


def test_the_forecast_and_how_often_it_held_are_told() -> None:
    text = page(forecasting())

    assert "Forecast of load, and what came" in text
    assert "each point forecast 60 s before" in text
    assert "What came stayed below its p90 50.0 % of the time" in text
    forecast = data_of(text)["runs"][0]["forecast"]
    assert forecast["quantiles"] == [0.5, 0.9]
    assert len(forecast["x"]) == len(forecast["seen"]) == len(forecast["values"][1])


def test_how_well_a_forecast_held_is_a_column_where_somebody_forecasts() -> None:
    columns = {column.head: column for column in columns_of(forecasting())}
    held = columns["forecast held"]

    assert [held.text(run) for run in forecasting().runs][:2] == ["50.0 % of p90", "-"]
    assert held.value(forecasting().runs[0]) == 0.5
    assert held.value(forecasting().runs[1]) is None
    assert best(held, forecasting()) == frozenset()
    assert "forecast held" not in {column.head for column in columns_of(a_comparison())}


def test_a_forecast_of_which_nothing_has_come_yet_held_no_share() -> None:
    comparison = forecasting()
    first = comparison.runs[0]
    forecasts = replace(first.decided.forecasts, seen_times=np.zeros(0), seen=np.zeros(0))  # type: ignore[type-var]
    run = replace(first, decided=replace(first.decided, forecasts=forecasts))
    (held,) = (one for one in columns_of(comparison) if one.head == "forecast held")

    assert held.text(run) == "-"


def on_nodes() -> Comparison:
    """The comparison, with the runs of one policy file on nodes."""
    pool = a_pool(provisioning=30.0)
    placed = [
        Candidate("placed", a_workload(
            "in_flight", policies=[TargetTracking(signal="in_flight", target=20)], profile=SLOW,
            slo=PROMISED, node_pool="h100",
        ), pools=(pool,)),
    ]  # fmt: skip
    return compare(a_burst(), placed, SETTINGS)


def test_nodes_are_drawn_and_their_decisions_told() -> None:
    comparison = on_nodes()
    text = html.unescape(page(comparison))

    data = data_of(page(comparison))
    for run in data["runs"]:
        assert len(run["nodesReady"]) == len(run["nodesAsked"]) == len(data["x"])
    changes = comparison.runs[0].decided.node_changes
    assert changes
    assert "<h3>Decisions on nodes</h3>" in text
    for change in changes:
        assert change.text in text
    assert 'data-chart="nodes"' in text
    assert re.search(r"Nodes took [\d.]+ GPU-hours, idle GPUs included: \d+ at most, changed", text)
    assert "GPU-hours of nodes" in text


def test_a_comparison_without_nodes_says_nothing_of_them() -> None:
    text = page(a_comparison())

    assert 'data-chart="nodes"' not in text
    assert "Decisions on nodes" not in text
    assert "nodesReady" not in str(data_of(text))


def test_what_is_out_of_the_ordinary_stands_beside_the_answer() -> None:
    comparison = a_comparison()
    first = comparison.runs[0]
    silent = replace(first.decided, silent=(("seasonal(load)", "2 days are needed"),))
    told = replace(comparison, runs=(replace(first, decided=silent), *comparison.runs[1:]))

    assert cautions_of(comparison) == []
    assert '<ul class="cautions">' not in page(comparison)
    assert cautions_of(told) == ["drain: seasonal(load) never had a say: 2 days are needed."]
    assert "<li>drain: seasonal(load) never had a say: 2 days are needed.</li>" in page(told)


def test_one_of_something_is_one() -> None:
    assert [counted(number, "replica") for number in (0, 1, 2000)] == [
        "0 replicas", "1 replica", "2,000 replicas",
    ]  # fmt: skip


def test_equal_comparisons_give_equal_pages() -> None:
    assert page(a_comparison()) == page(a_comparison())


def test_the_page_names_no_other_place() -> None:
    """Addresses stand in comments and XML names at most: nothing is loaded."""
    text = page(forecasting())

    loading = re.findall(r"<(?:link|img|iframe|script|object|embed)\b[^>]*(?:src|href)=", text)
    assert loading == []
    assert "@import" not in text
    assert not re.search(r"url\((?!data:)", text)


def test_only_the_pages_own_scripts_and_styles_may_run() -> None:
    text = page(a_comparison())

    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    rules = html.unescape(policy[1])
    assert rules.startswith("default-src 'none'; ")
    assert "unsafe" not in rules
    inline = re.findall(r"<(?:script|style)>(.*?)</(?:script|style)>", text, re.DOTALL)
    assert len(inline) == 4
    for one in inline:
        digest = base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in rules
    assert re.findall(r'\sstyle="|\son\w+="', text) == []


def test_names_from_outside_stay_text() -> None:
    wicked = "</script><script>alert(1)</script>&<b>"
    comparison = a_comparison()
    first = replace(comparison.runs[0], name=wicked, note=wicked)
    facts = replace(comparison.facts, name=wicked)

    text = page(replace(comparison, facts=facts, runs=(first, *comparison.runs[1:])))

    assert wicked not in text
    assert "<script>alert" not in text
    assert data_of(text)["runs"][0]["name"] == wicked


def test_the_chart_library_is_unchanged_and_brings_its_licence() -> None:
    digest = hashlib.sha256((VENDORED / "uPlot.iife.min.js").read_bytes()).hexdigest()

    assert digest == "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
    assert "Permission is hereby granted" in (VENDORED / "LICENSE").read_text(encoding="utf-8")
    assert "Permission is hereby granted" in page(a_comparison())


def test_the_charts_have_one_grid_for_all_runs() -> None:
    data = chart_data(a_comparison())

    for run in data["runs"]:
        assert len(run["asked"]) == len(run["ready"]) == len(run["queued"]) == len(data["x"])
        assert len(run["arrived"]) == len(run["missed"]) == len(run["ttft"]) == len(data["mx"])
    assert sum(count or 0 for count in data["runs"][0]["arrived"]) == len(a_burst())
    assert data["limits"] == {"ttft": 1.0, "itl": 0.1, "e2e": None}


def test_a_long_run_is_shown_by_the_most_in_each_bin() -> None:
    comparison = a_comparison()
    cycles = 7 * 86_400 // 15
    count = np.ones(cycles, dtype=np.int64)
    peak = count.copy()
    peak[12_345] = 9
    seconds = 15.0 * np.arange(1, cycles + 1, dtype=np.float64)
    timeline = Timeline(seconds, peak, count, count, count, count, count)
    runs = tuple(
        replace(run, result=replace(run.result, timeline=timeline)) for run in comparison.runs
    )

    long = replace(comparison, runs=runs)
    data = chart_data(long)

    assert len(data["x"]) <= MOST_POINTS
    assert data["days"] is True
    assert max(data["runs"][0]["asked"]) == 9
    assert Grid.of(long).minutes == 7


def test_the_picture_of_the_trade_holds_every_run_once() -> None:
    trade = trade_of(a_comparison())

    assert [point.name for point in trade.points] == [run.name for run in a_comparison().runs]
    for point in trade.points:
        assert LEFT <= point.x <= RIGHT
        assert TOP <= point.y <= BOTTOM
    places = {(point.text_x, point.text_y, point.anchor) for point in trade.points}
    assert len(places) == len(trade.points)
    hours = [run.gpu_hours for run in a_comparison().runs]
    by_hours = sorted(trade.points, key=lambda point: point.x)
    assert by_hours[-1].name == a_comparison().runs[hours.index(max(hours))].name


def test_being_cheap_is_best_only_where_the_promise_is_kept() -> None:
    columns = {column.head: column for column in columns_of(a_comparison())}

    assert best(columns["GPU-hours"], a_comparison()) == frozenset()
    assert best(columns["served as promised"], a_comparison()) == {"drain"}
    assert {"cost", "1st token in 1 s", "100 ms a token"} <= set(columns)
    assert all(column.help.endswith(".") for column in columns.values())


def test_the_promise_in_words() -> None:
    every = Slo(ttft_p95_seconds=2, itl_p95_seconds=0.1, e2e_p95_seconds=30, attainment=0.99)

    assert promise(every) == (
        "Promised is the first token within 2 s, tokens 100 ms apart or less on average and the "
        "whole answer within 30 s, to 99 % of all requests."
    )
    assert promise(Slo()) == "Promised is an answer, to 95 % of all requests."


def test_numbers_are_written_for_a_person() -> None:
    assert [share(0.99999), share(0.5), share(None)] == ["99.9 %", "50.0 %", "-"]
    assert [duration(value) for value in (0.0123, 1.5, 90, 240, 9000, None)] == [
        "12.3 ms", "1.5 s", "90 s", "4 min", "2.5 h", "-",
    ]  # fmt: skip
    assert [since_start(3675, days=False), since_start(90_000, days=True)] == [
        "1:01:15", "day 2 1:00",
    ]  # fmt: skip
    assert [signed(1234.5, 1), signed(-0.001, 2), signed(-2, 0)] == ["+1,234.5", "0.00", "-2"]


def test_a_report_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    write_report(a_comparison(), tmp_path / "compare.html")

    assert [path.name for path in tmp_path.iterdir()] == ["compare.html"]
    assert (tmp_path / "compare.html").read_text(encoding="utf-8") == page(a_comparison())
    with pytest.raises(ConfigError) as refused:
        write_report(a_comparison(), tmp_path / "none" / "compare.html")
    assert str(refused.value).endswith("compare.html: cannot be written: no such file or directory")


def test_a_report_follows_a_link_and_leaves_it(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    link = tmp_path / "latest.html"
    link.symlink_to("kept/monday.html")

    for _ in range(2):  # where nothing lies yet, and over what lies there
        write_report(a_comparison(), link)

    assert link.is_symlink()
    assert (kept / "monday.html").read_text(encoding="utf-8") == page(a_comparison())
    assert [path.name for path in kept.iterdir()] == ["monday.html"]
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "latest.html"}


def a_fifo(path: Path) -> None:
    os.mkfifo(path)


def a_link_to_a_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("fifo"))
    path.symlink_to("fifo")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        pytest.param(a_fifo, "is not a regular file", id="fifo"),
        pytest.param(a_link_to_a_fifo, "is not a regular file", id="link to a fifo"),
        pytest.param(a_link_to_itself, "too many levels of symbolic links", id="link to itself"),
        pytest.param(a_socket, "is not a regular file", id="socket"),
        pytest.param(Path.mkdir, "is a directory", id="folder"),
    ],
)
def test_a_report_takes_the_place_of_nothing_but_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("compare.html")
    make(path)
    before = sorted((one.name, one.lstat().st_mode) for one in tmp_path.iterdir())

    for refuse in (refuse_unwritable, lambda path: write_report(a_comparison(), path)):
        with pytest.raises(ConfigError) as refused:
            refuse(path)
        assert str(refused.value) == f"compare.html: cannot be written: {what}"

    assert sorted((one.name, one.lstat().st_mode) for one in tmp_path.iterdir()) == before


def test_a_report_under_a_name_that_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 300)

    for refuse in (refuse_unwritable, lambda path: write_report(a_comparison(), path)):
        with pytest.raises(ConfigError) as refused:
            refuse(long)
        assert str(refused.value) == f"{long}: cannot be written: file name too long"


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
in_a_browser = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"),
    reason="Chromium is not installed; where CI is set this fails instead",
)
SCREENSHOT = Path(__file__).parents[2] / "build" / "compare.png"
"""Kept after the tests, for a look; REPORT_SCREENSHOT names another place."""
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-default-apps", "--disable-extensions", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=5000",
]  # fmt: skip


@contextmanager
def a_proxy_that_counts() -> Iterator[tuple[str, list[str]]]:
    """A proxy that answers nobody and remembers who asked: where any request would go."""
    asked: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    asked.append(client.recv(200).decode("latin-1").partition("\r")[0])

        Thread(target=listen, daemon=True).start()
        host, port = server.getsockname()
        yield f"http://{host}:{port}", asked
        server.shutdown(socket.SHUT_RDWR)


def browse(path: Path, folder: Path, proxy: str, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            f"--proxy-server={proxy}",
            "--proxy-bypass-list=<-loopback>",
            *flags,
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "HOME": str(folder)},
    )


def console(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


CHROMIUMS_OWN = frozenset(
    {
        "accounts.google.com", "android.clients.google.com", "clients2.google.com",
        "clientservices.googleapis.com", "edgedl.me.gvt1.com",
        "optimizationguide-pa.googleapis.com", "redirector.gvt1.com",
        "safebrowsing.googleapis.com", "update.googleapis.com",
    }
)  # fmt: skip
"""Hosts that Chromium asks for itself, whatever page it shows: updates, the time, its accounts."""


def foreign_hosts(asked: Iterable[str]) -> list[str]:
    """Return the hosts that a proxy was asked for and that are not Chromium's own, sorted.

    Args:
        asked: The first line of each request; empty where a connection was opened in vain.
    """
    found = set[str]()
    for line in filter(None, asked):
        method, _, rest = line.partition(" ")
        target = rest.partition(" ")[0]
        host = urlsplit(f"//{target}" if method == "CONNECT" else target).hostname
        found.add(host or line)
    return sorted(found - CHROMIUMS_OWN)


@pytest.mark.parametrize(
    ("asked", "foreign"),
    [
        pytest.param([], [], id="nobody"),
        pytest.param(
            [
                "",
                "GET http://clients2.google.com/time/1/current?cup2key=1 HTTP/1.1",
                "CONNECT accounts.google.com:443 HTTP/1.1",
            ],
            [],
            id="Chromium's own",
        ),
        pytest.param(["GET http://cdn/uplot.js HTTP/1.1"], ["cdn"], id="http"),
        pytest.param(["CONNECT cdn:443 HTTP/1.1"], ["cdn"], id="https"),
        pytest.param(["GET http://127.0.0.1:8080/x HTTP/1.1"], ["127.0.0.1"], id="loopback"),
        pytest.param(["GET http://[::1]:80/x HTTP/1.1"], ["::1"], id="IPv6"),
        pytest.param(
            ["CONNECT fonts.googleapis.com:443 HTTP/1.1"], ["fonts.googleapis.com"], id="fonts"
        ),
        pytest.param(
            ["CONNECT update.googleapis.com.example:443 HTTP/1.1"],
            ["update.googleapis.com.example"],
            id="almost Chromium's own",
        ),
        pytest.param(["GET http://cdn/" + 200 * "x"], ["cdn"], id="cut off"),
        pytest.param(["nonsense"], ["nonsense"], id="what nobody understands"),
    ],
)
def test_whom_a_page_asks_is_told_from_whom_the_browser_asks(
    asked: list[str], foreign: list[str]
) -> None:
    assert foreign_hosts(asked) == foreign


@pytest.mark.slow
@in_a_browser
def test_a_page_that_asks_others_is_found_out(tmp_path: Path) -> None:
    """The check of the report is able to fail: without the report's rules others are asked."""
    path = tmp_path / "foreign.html"
    path.write_text(
        '<img src="http://cdn/x.png"><script src="https://scripts.example/x.js"></script>'
    )

    with a_proxy_that_counts() as (proxy, asked):
        browse(path, tmp_path, proxy, "--dump-dom")

    assert foreign_hosts(asked) == ["cdn", "scripts.example"]


@pytest.mark.slow
@in_a_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_draws_every_chart_and_asks_nobody_for_anything(
    tmp_path: Path, dark: bool
) -> None:
    report = tmp_path / "compare.html"
    write_report(forecasting(), report)

    with a_proxy_that_counts() as (proxy, asked):
        done = browse(
            report, tmp_path, proxy, "--dump-dom", *(["--force-dark-mode"] if dark else [])
        )

    assert console(done) == []
    drawn = re.findall(r'<div class="chart"[^>]*data-drawn="yes"', done.stdout)
    shown = re.findall(r"<canvas", done.stdout)
    # A small one for each run; and of each policy, whose part is open: replicas and four more,
    # and one forecast.
    assert len(drawn) == len(shown) == 5 + 2 * 5 + 1
    assert 'data-ready="yes"' in done.stdout
    assert foreign_hosts(asked) == []


@pytest.mark.slow
@in_a_browser
def test_the_picture_of_the_page_is_not_empty(tmp_path: Path) -> None:
    """A screenshot, which stays for a person to look at."""
    report, picture = tmp_path / "compare.html", tmp_path / "compare.png"
    write_report(forecasting(), report)

    with a_proxy_that_counts() as (proxy, _):
        browse(report, tmp_path, proxy, "--window-size=1280,2400", f"--screenshot={picture}")

    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 50_000
    kept = Path(os.environ.get("REPORT_SCREENSHOT") or SCREENSHOT)
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(picture, kept)
    assert kept.read_bytes() == picture.read_bytes()


@pytest.mark.slow
@in_a_browser
def test_the_browser_would_tell_of_a_script_that_is_not_the_pages_own(tmp_path: Path) -> None:
    """The check above is able to fail: a foreign script and a foreign address are refused aloud."""
    report = tmp_path / "compare.html"
    text = page(a_comparison())
    foreign = '<script>document.title = "foreign"</script><img src="http://127.0.0.2/x.png">'
    report.write_text(text.replace("</header>", f"</header>{foreign}"), encoding="utf-8")

    with a_proxy_that_counts() as (proxy, asked):
        done = browse(report, tmp_path, proxy, "--dump-dom")

    assert len(console(done)) >= 2
    assert "<title>Scaling policies" in done.stdout
    assert foreign_hosts(asked) == []
