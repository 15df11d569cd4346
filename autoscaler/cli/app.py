"""The commands together, and what becomes of their errors."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from autoscaler.cli import (
    adapter,
    backtest,
    check,
    compare,
    demo,
    explain,
    init,
    policies,
    queries,
    rbac,
    replay,
    run,
    schema,
    settings,
    signals,
    verify,
    version,
)
from autoscaler.cli.ending import Ending, ending
from autoscaler.cli.words import say
from autoscaler.core.errors import AutoscalerError, ConfigError, TraceError

DONE, FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
DEBUG = "AUTOSCALER_DEBUG"

app = typer.Typer(
    name="autoscaler",
    help="Scale GPU inference on Kubernetes; try a policy file on your traffic first.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich costs a tenth of a second before the first word
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        version.version()
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Scale GPU inference on Kubernetes; try a policy file on your traffic first."""


app.command("init")(init.init)
app.command("check")(check.check)
app.command("policies")(policies.policies)
app.command("schema")(schema.schema)
app.command("signals")(signals.signals)
app.command("queries")(queries.queries)
app.command("run")(run.run)
app.command("adapter")(adapter.adapter)
app.command("rbac")(rbac.rbac)
app.command("settings")(settings.settings)
app.command("replay")(replay.replay)
app.command("compare")(compare.compare)
app.command("demo")(demo.demo)
app.command("backtest")(backtest.backtest)
app.command("explain")(explain.explain)
app.command("verify")(verify.verify)
app.command("version")(version.version)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 1 failed, 2 your input is wrong, 130 interrupted, 143 terminated, 129 hung up. Errors
    are one line each on stderr.

    Args:
        arguments: Of the command line; those of the process if absent.
    """
    # One thread for linear algebra: several fight over few cores and are many times slower. Only
    # libraries that are not loaded yet listen to this.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    with ending() as asked:
        code = _run(arguments, asked)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has had enough, as `| head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _run(arguments: Sequence[str] | None, asked: Ending) -> int:
    code = DONE
    try:
        app(args=None if arguments is None else list(arguments), prog_name="autoscaler")
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else DONE
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        code = FAILED
    except AutoscalerError as error:
        # A problem a line, each complete in itself.
        if asked.code is None:
            say(str(error))
        code = WRONG_INPUT if isinstance(error, ConfigError | TraceError) else FAILED
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        if asked.code is None:
            first_line = str(error).partition("\n")[0]
            say(f"internal error: {type(error).__name__}: {first_line}; {DEBUG}=1 shows where")
        code = FAILED
    return code if asked.code is None else asked.code
