"""The picture of the trade: users served as promised against GPU-hours, one point a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from simulations.report.words import share
from simulations.runs import Comparison, Run

WIDTH, HEIGHT = 860, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 690, 14, 330
LINE, LETTER = 17, 7.6


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the grid with its label."""

    at: float
    text: str


@dataclass(slots=True)
class Point:
    """One run.

    Attributes:
        name: Of the run.
        kind: policy, baseline or reference.
        told: Both numbers in words.
        x: Across.
        y: Down.
        text_x: Where the name stands.
        text_y: Its base line.
        anchor: Which end of the name that is.
    """

    name: str
    kind: str
    told: str
    x: float
    y: float
    text_x: float = 0.0
    text_y: float = 0.0
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Trade:
    """Everything that the template draws, in its own units."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    across: tuple[Rule, ...]
    down: tuple[Rule, ...]
    goal: float
    goal_text: str
    points: tuple[Point, ...]


def trade_of(comparison: Comparison) -> Trade:
    """Return the picture of a comparison."""
    runs = comparison.runs
    goal = comparison.slo.attainment
    lowest = min(goal, *(run.attainment for run in runs))
    step_y = _step(1.0 - lowest, 5)
    low = max(0.0, floor((lowest - 0.1 * (1 - lowest)) / step_y) * step_y)
    step_x = _step(max(run.gpu_hours for run in runs) * 1.08, 6)
    high_x = ceil(max(run.gpu_hours for run in runs) * 1.04 / step_x) * step_x

    def across(hours: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * hours / high_x, 1)

    def down(attained: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP - 10) * (attained - low) / (1 - low), 1)

    points = [_point(run, across(run.gpu_hours), down(run.attainment)) for run in runs]
    _place_names(points)
    levels = [low + step_y * index for index in range(round((1 - low) / step_y) + 1)]
    hours = [step_x * index for index in range(round(high_x / step_x) + 1)]
    return Trade(
        WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM,
        across=tuple(Rule(down(level), f"{level * 100:.4g} %") for level in levels),
        down=tuple(Rule(across(at), f"{at:.4g}") for at in hours),
        goal=down(goal),
        goal_text=f"{goal * 100:g} %",
        points=tuple(points),
    )  # fmt: skip


def _point(run: Run, x: float, y: float) -> Point:
    told = f"{run.name}: {share(run.attainment)} for {run.gpu_hours:,.2f} GPU-hours"
    return Point(run.name, str(run.kind), told, x, y)


def _step(span: float, most: int) -> float:
    """Return a round step that divides a span into at most so many parts."""
    if span <= 0:
        return 0.01
    rough = span / most
    power = 10.0 ** floor(log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def _place_names(points: Sequence[Point]) -> None:
    """Put each name beside its point where it covers neither a name nor a point."""
    taken = [_Box(one.x - 8, one.y - 8, one.x + 8, one.y + 8) for one in points]
    for point in sorted(points, key=lambda one: (one.y, one.x)):
        for rows in range(2 * len(points) + 1):
            # Beside the point, then further and further below and above it.
            down = LINE * ((rows + 1) // 2) * (1 if rows % 2 else -1)
            if not TOP + LINE < point.y + 4 + down < BOTTOM and rows:
                continue
            if _try_sides(point, max(point.y + 4 + down, TOP + 12), taken):
                break
        taken.append(_box(point))


def _try_sides(point: Point, text_y: float, taken: Sequence["_Box"]) -> bool:
    """Put a name to the right of its point or to the left of it; say whether it is in the clear."""
    for anchor, text_x in (("start", point.x + 12), ("end", point.x - 12)):
        point.anchor, point.text_x, point.text_y = anchor, text_x, text_y
        box = _box(point)
        if box.left > LEFT and box.right < WIDTH and not any(box.covers(one) for one in taken):
            return True
    return False


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def covers(self, other: "_Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def _box(point: Point) -> _Box:
    """What a name covers, roughly."""
    long = LETTER * len(point.name)
    left = point.text_x if point.anchor == "start" else point.text_x - long
    return _Box(left, point.text_y - 12, left + long, point.text_y + 4)
