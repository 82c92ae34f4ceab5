"""Commands, settings from files, and errors as one line."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import warnings
from collections.abc import Sequence
from importlib.metadata import version

from . import _design, _evaluate, _fit, _info, _predict, _simulate, _train
from ._config import with_config

_COMMANDS = {
    "predict": _predict,
    "fit": _fit,
    "simulate": _simulate,
    "train": _train,
    "evaluate": _evaluate,
    "design": _design,
    "info": _info,
}
_EPILOG = """\
All quantities are in SI units: seconds, radians, rad/s. Options may stand in a TOML file as well (--config), in the
table of the command, such as

  [predict]
  mask = "mask.nii.gz"
  noise-std = 0.02

An option of the command line replaces the one of the file. A run that was interrupted goes on where it was if the same
command is given again. Exit code: 0 done, 1 failed (one line tells why), 2 wrong usage, 130 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        Exit code: 0 if it was done, 1 if it failed, 130 after an interruption from the keyboard.

    Raises
    ------
    SystemExit
        With code 2 for wrong usage, 0 after help was asked for.
    """
    parser, commands = _parser()
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(with_config(given, commands))
    options.command_line = shlex.join(["crbestim", *given])
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: _tell(options, f"warning: {message}")
            options.run(options)
    except KeyboardInterrupt as interruption:
        _tell(options, f"interrupted. {interruption}".strip())
        return 130
    except Exception as error:
        if options.debug:
            raise
        _tell(options, f"error: {_one_line(error, options)}")
        return 1
    return 0


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    common = argparse.ArgumentParser(add_help=False)
    group = common.add_argument_group("general")
    group.add_argument("--config", metavar="TOML", help="file of settings")
    group.add_argument("--quiet", action="store_true", help="no progress bars")
    group.add_argument("--debug", action="store_true", help="on an error, show where it came from")
    parser = argparse.ArgumentParser(
        prog="crbestim",
        description="Parameter maps from MR signals, about as precise as the Cramér-Rao bound allows.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"crbestim {version('crbestim')}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    commands = {}
    for name, module in _COMMANDS.items():
        summary, _, rest = (module.__doc__ or "").partition("\n")
        command = subparsers.add_parser(
            name, help=summary, description=f"{summary}\n{rest}", parents=[common], allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        module.add_options(command)
        command.set_defaults(run=module.run)
        commands[name] = command
    return parser, commands


def _tell(options: argparse.Namespace, text: str) -> None:
    print(f"crbestim {options.command}: {text}", file=sys.stderr)


def _one_line(error: Exception, options: argparse.Namespace) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    if not isinstance(error, (ValueError, TypeError, OSError, ImportError)):
        text = f"{type(error).__name__}: {text} (--debug shows where)"
    for name in sorted(vars(options), key=len, reverse=True):  # arguments in Python are options here
        pattern = rf"(?<![\w-]){name}\b" if "_" in name else rf"^{name}(?=( must|:))"
        text = re.sub(pattern, f"--{name.replace('_', '-')}", text)
    notes = getattr(error, "__notes__", [])
    return " ".join([*(text.rstrip(".") + "." if notes else text).split(), *notes])
