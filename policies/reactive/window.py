"""What the newest samples of a series say: how long above a mark, how fast it changes."""

import numpy as np

from autoscaler.core.observation import FloatArray, Series

EDGE_SECONDS = 1e-3
"""Sample times this close count as equal: Unix seconds as floats are not exact."""


HUGE = 1e150
"""Above this, products of samples may not be finite."""


def newest(series: Series, seconds: float) -> Series:
    """Return the samples at most `seconds` older than the newest one, that one included."""
    return series.since(series.latest_time - seconds - EDGE_SECONDS)


def covers(series: Series, seconds: float) -> bool:
    """Whether there are samples, and they reach back at least `seconds`."""
    times = series.times
    return len(times) > 0 and times.item(-1) - times.item(0) >= seconds - EDGE_SECONDS


def newest_above(series: Series, mark: float) -> Series:
    """Return the newest samples without a break above `mark`."""
    return _newest_run(series, series.values <= mark)


def newest_below(series: Series, mark: float) -> Series:
    """Return the newest samples without a break below `mark`."""
    return _newest_run(series, series.values >= mark)


def _newest_run(series: Series, outside: "np.typing.NDArray[np.bool_]") -> Series:
    """Return the samples behind the newest one that is outside."""
    (places,) = outside.nonzero()
    return series.tail(int(places[-1]) + 1) if len(places) else series


def slope(series: Series) -> float:
    """Return the change per second: least squares over all samples; 0 for fewer than two."""
    if len(series) < 2:
        return 0.0
    most = _magnitude(series.values)
    if most == 0:
        return 0.0
    values, scale = _scaled(series.values, most)
    times = series.times - _mean(series.times)
    return float(times.dot(values - _mean(values)) / times.dot(times)) * scale


def mean(series: Series) -> float:
    """Return the average of the samples, at least one."""
    values, scale = _scaled(series.values, _magnitude(series.values))
    return float(_mean(values)) * scale


def _mean(values: FloatArray) -> np.float64:
    # As `values.mean()`, which takes twice as long over a few samples.
    total: np.float64 = np.add.reduce(values) / len(values)
    return total


def _magnitude(values: FloatArray) -> float:
    """Return how far from 0 the farthest of the values is."""
    return _largest(np.abs(values))


def _scaled(values: FloatArray, most: float) -> tuple[FloatArray, float]:
    """Return values of this magnitude, and what they were divided by so that sums stay finite.

    That is 1 for all but absurd ones.
    """
    return (values / most, most) if most > HUGE else (values, 1.0)


def largest(series: Series) -> float:
    """Return the largest of the samples, at least one."""
    return _largest(series.values)


def smallest(series: Series) -> float:
    """Return the smallest of the samples, at least one."""
    values = series.values
    return values.item(values.argmin())


def _largest(values: FloatArray) -> float:
    # As `values.max()`, which takes twice as long over a few samples.
    return values.item(values.argmax())
