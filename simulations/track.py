"""The samples of one signal, as a fleet's Prometheus would have them."""

from collections import deque
from collections.abc import Mapping

from autoscaler.core.observation import PodSample, Series
from autoscaler.core.spec import SignalSpec
from simulations.measurements import Measurement, Sample
from simulations.scrapes import Scrapes


class Track:
    """The samples of one signal, as they come with each scrape.

    Attributes:
        spec: The signal.
        range_seconds: How far back rates look.
    """

    def __init__(self, spec: SignalSpec, measurement: Measurement, scrape_seconds: float) -> None:
        """Begin without a sample."""
        self.spec = spec
        self.range_seconds = max(float(spec.step_seconds), 4 * scrape_seconds)
        self._measurement = measurement
        self._samples: deque[tuple[float, float]] = deque()
        self._newest = Sample(None)
        self._newest_time = 0.0

    def look(self, seen: Scrapes) -> None:
        """Take a sample of the newest scrape."""
        self._newest = self._measurement.sample(seen, self.range_seconds)
        self._newest_time = seen.now
        if self._newest.value is not None:
            self._samples.append((seen.now, self._newest.value))

    def series(self, now: float, start: float) -> Series:
        """Return the window's samples: the last one of each step, so always the newest."""
        while self._samples and self._samples[0][0] <= now - self.spec.window_seconds:
            self._samples.popleft()
        steps = {
            time // self.spec.step_seconds: (start + time, value) for time, value in self._samples
        }
        return Series.of(steps.values())

    def pods(self, start: float) -> Mapping[str, PodSample]:
        """Return the newest sample of each replica."""
        time = start + self._newest_time
        window = self._newest.window_seconds
        return {name: PodSample(value, time, window) for name, value in self._newest.pods.items()}
