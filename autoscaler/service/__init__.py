"""The live process: one control cycle after the other, and what goes on beside them.

- `cycle` is one control cycle, from reading the clock to telling what was done: begin there.
- `timetable` says when cycles run, `serving` runs them until the process is told to end.
- `waking` looks at workloads that sleep at zero, and brings the next cycle forward for them.
- `reloading` looks at the policy files and `saving` keeps the state: beside the cycles.
- `ends` names what a live controller is composed of, `clock` reads the wall clock.
"""

from autoscaler.service.clock import wall
from autoscaler.service.cycle import Service
from autoscaler.service.ends import Alone, LastingJournal, Leadership, Parts, Remembering
from autoscaler.service.serving import collect_rarely, serve

__all__ = [
    "Alone",
    "LastingJournal",
    "Leadership",
    "Parts",
    "Remembering",
    "Service",
    "collect_rarely",
    "serve",
    "wall",
]
