"""The samples of one signal, as a fleet's Prometheus would have them."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from autoscaler.core.observation import PodSample, Series
from autoscaler.core.spec import SignalSpec
from simulations.measurements import Measurement, Sample
from simulations.scrapes import Scrapes

_FEW_SAMPLES: Final = 64


class Track:
    """The samples of one signal, as they come with each scrape: the last one of each step.

    Attributes:
        spec: The signal.
        range_seconds: How far back rates look.
    """

    def __init__(self, spec: SignalSpec, measurement: Measurement, scrape_seconds: float) -> None:
        """Begin without a sample."""
        self.spec = spec
        self.range_seconds = max(float(spec.step_seconds), 4 * scrape_seconds)
        self._measurement = measurement
        self._newest = Sample(None)
        self._newest_time = 0.0
        # Times and values; those from `_first` to before `_past` count.
        self._samples = np.zeros((2, _FEW_SAMPLES))
        self._first = 0
        self._past = 0
        self._series: Series | None = None

    def look(self, scrapes: Scrapes) -> None:
        """Take a sample of the newest scrape."""
        self._newest = self._measurement.sample(scrapes, self.range_seconds)
        self._newest_time = scrapes.now
        if self._newest.value is not None:
            self._keep(scrapes.now, self._newest.value)

    def series(self, now: float, start: float) -> Series:
        """Return the window's samples: the last one of each step, so always the newest."""
        begin = now - self.spec.window_seconds
        while self._first < self._past and self._samples[0, self._first] <= begin:
            self._first += 1
            self._series = None
        if self._series is None:
            samples = self._samples[:, self._first : self._past].copy()
            samples[0] += start
            samples.flags.writeable = False
            self._series = Series.sound(samples[0], samples[1])
        return self._series

    def pods(self, workload: str, start: float) -> Mapping[str, PodSample]:
        """Return the newest sample of each replica, by pod name."""
        newest, time = self._newest, start + self._newest_time
        return {
            f"{workload}-{number}": PodSample(value, time, newest.window_seconds)
            for number, value in zip(newest.numbers.tolist(), newest.pods.tolist(), strict=True)
        }

    def _keep(self, time: float, value: float) -> None:
        step, samples = self.spec.step_seconds, self._samples
        self._series = None
        if self._past > self._first and samples[0, self._past - 1] // step == time // step:
            self._past -= 1
        elif self._past == samples.shape[1]:
            self._make_room()
        self._samples[:, self._past] = time, value
        self._past += 1

    def _make_room(self) -> None:
        """Move the samples to the front, of a larger array if they fill more than half of it."""
        kept = self._samples[:, self._first : self._past]
        count = kept.shape[1]
        room = np.zeros((2, max(self._samples.shape[1], 2 * count)))
        room[:, :count] = kept
        self._samples, self._first, self._past = room, 0, count
