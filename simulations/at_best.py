"""What a run can still come to: who is too slow already is not simulated to the end."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AtBest:
    """Two attainments; in the middle of a run, those that no ending of it can exceed.

    Attributes:
        attainment: Of all requests of the trace, 0 to 1.
        worst_minute: Of those that arrived in the worst minute.
    """

    attainment: float
    worst_minute: float = 0.0

    def falls_short_of(self, least: "AtBest") -> bool:
        """Whether one of both cannot reach what it should."""
        return self.attainment < least.attainment or self.worst_minute < least.worst_minute
