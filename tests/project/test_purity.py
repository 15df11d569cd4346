"""What import contracts cannot see: built-ins and attributes that reach outside.

The contracts in `pyproject.toml` keep modules out; these keep `open()`, `print()`, `global` and
generators made on the spot out of the core and the policies.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.tree import ROOT, runtime_modules

OUTSIDE_CALLS = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}
OUTSIDE_METHODS = {"now", "utcnow", "today", "default_rng"}

ALLOWED = {
    # A faster __init__ out of the names of fields alone, as `dataclasses` makes its own.
    Path("autoscaler/core/swift.py"): {"exec()"},
}

PURE = tuple(
    path
    for path in runtime_modules()
    if path.parts[0] == "policies" or path.parts[:2] == ("autoscaler", "core")
)


def reaching_out(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in OUTSIDE_CALLS:
                yield f"line {node.lineno}: {name}()"
            case ast.Call(func=ast.Attribute(attr=name)) if name in OUTSIDE_METHODS:
                yield f"line {node.lineno}: .{name}()"
            case ast.Attribute(value=ast.Name(id="sys" | "os"), attr=name):
                yield f"line {node.lineno}: .{name}"
            case ast.Global(names=names):
                yield f"line {node.lineno}: global {', '.join(names)}"
            case _:
                pass


@pytest.mark.parametrize("path", PURE, ids=str)
def test_a_pure_module_does_not_reach_out(path: Path) -> None:
    found = reaching_out((ROOT / path).read_text(encoding="utf-8"))
    allowed = ALLOWED.get(path, set())
    assert [one for one in found if one.partition(": ")[2] not in allowed] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param("open('x')", ["line 1: open()"], id="a file"),
        pytest.param("datetime.now(tz=UTC)", ["line 1: .now()"], id="a clock"),
        pytest.param("np.random.default_rng(7)", ["line 1: .default_rng()"], id="chance"),
        pytest.param("sys.stderr.write('x')", ["line 1: .stderr"], id="a stream"),
        pytest.param("def f():\n    global x", ["line 2: global x"], id="hidden state"),
        pytest.param("observation.now + 1", [], id="a field called now is a value"),
    ],
)
def test_the_search_finds_what_it_looks_for(source: str, found: list[str]) -> None:
    assert list(reaching_out(source)) == found
