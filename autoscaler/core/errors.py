"""The error tree, grouped by who must act.

```
AutoscalerError
├─ ConfigError        the operator changes a file; exit code 2
├─ ObservationError   we could not see; becomes `missing`; that workload holds
├─ ActuationError     we could not act; becomes an Outcome; the next cycle tries again
├─ JournalError       a cycle could not be kept; the journal is not there; exit code 1
├─ PolicyError        a plug-in raised or returned nonsense; that workload holds, loudly
└─ TraceError         a simulation input is wrong; names file and line; exit code 2
```
"""

from collections.abc import Sequence


class AutoscalerError(Exception):
    """Anything that this project raises on purpose."""


class ConfigError(AutoscalerError):
    """A file or setting of the operator is wrong.

    Attributes:
        problems: One line for each thing to change, in the order of the file; each names
            file, line, field, rule and the value found.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class ObservationError(AutoscalerError):
    """A source of signals or replica counts did not answer usefully."""


class ActuationError(AutoscalerError):
    """A change could not be made in the cluster."""


class JournalError(AutoscalerError):
    """A journal could not be written to its end: the disk is full, or the file was taken away.

    No ConfigError, for the name of the file was right, and no ActuationError, for the cluster has
    nothing to do with it: what was decided was done, and only the record of it is lost.
    """


class PolicyError(AutoscalerError):
    """A policy raised, or returned something that is not a recommendation."""


class TraceError(AutoscalerError):
    """An input of the simulator is wrong; the message names file and line."""


class Ended(SystemExit):
    """Somebody outside ended the process (Ctrl-C, SIGTERM, SIGHUP).

    What other people's code raises stops their workload only; this is not theirs and passes.
    """
