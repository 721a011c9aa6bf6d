"""The command line: the commands of `commands/` under one name, and what becomes of errors.

A command parses, calls one library function and prints; stdout is data, stderr is progress and messages. Everything heavy is
imported inside the commands, so that `nightreel --help` answers at once.
"""

import errno
import sys

import typer

from .commands import evaluating, finding, finetuning, keeping, making, pretraining, probing, trying

app = typer.Typer(
    name="nightreel",
    help="Index video archives overnight, find moments in them by sentence in the morning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (making, finding, finetuning, probing, pretraining, evaluating, keeping, trying):
    app.add_typer(commands.app)


def main() -> None:
    """Run the command line; every error that a person can act on becomes one message and an exit code."""
    from .extract.errors import NightreelError

    try:
        app()
    except NightreelError as error:
        typer.echo(f"nightreel: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        what = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "What was committed before is safe; free the disk, then repeat." if full else "Nothing was lost."
        typer.echo(f"nightreel: {what}\n{remedy}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
