"""Options from a TOML file."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping
from typing import Any


def with_config(arguments: list[str], commands: Mapping[str, argparse.ArgumentParser]) -> list[str]:
    """Return arguments with the options of the file that they name before their own, which win.

    A usage error ends the process, as those of the command line do.
    """
    command = next((argument for argument in arguments if argument in commands), None)
    path = _config_path(arguments)
    if command is None or path is None:
        return arguments
    subparser = commands[command]
    try:
        with open(path, "rb") as file:
            settings = tomllib.load(file)
    except OSError as error:
        subparser.error(f"--config: {path}: {error.strerror}")
    except (ValueError, RecursionError) as error:
        subparser.error(f"--config: {path} is no TOML file: {error}")
    wrong = [name for name, table in settings.items() if name not in commands or not isinstance(table, dict)]
    if wrong:
        subparser.error(f"--config: {path} may have tables named after commands only; found {', '.join(wrong)}")
    actions = {string.lstrip("-"): action for action in subparser._actions for string in action.option_strings}
    tokens: list[str] = []
    for name, value in settings.get(command, {}).items():
        action = actions.get(name)
        if action is None or name in ("config", "help", "h"):
            subparser.error(f"--config: {path}: {command} has no option {name!r}")
        if not any(_is_given(string, arguments) for string in _replaced_by(action, subparser)):
            tokens += _tokens(name, value, action, subparser)
    return [*arguments, *tokens]  # behind them, so that no list takes what has its place


def _replaced_by(action: argparse.Action, parser: argparse.ArgumentParser) -> list[str]:
    """Return the options that an option of the command line replaces: itself, and those that exclude it."""
    groups = [group._group_actions for group in parser._mutually_exclusive_groups]
    excluded = [other for group in groups if action in group for other in group]
    return [string for other in [action, *excluded] for string in other.option_strings]


def _is_given(option: str, arguments: list[str]) -> bool:
    return option in arguments or any(argument.startswith(f"{option}=") for argument in arguments)


def _tokens(name: str, value: Any, action: argparse.Action, parser: argparse.ArgumentParser) -> list[str]:
    if action.nargs == 0:
        if not isinstance(value, bool):
            parser.error(f"--config: {name} must be true or false; got {value!r}")
        return [f"--{name}"] if value else []
    if isinstance(value, dict):
        return [token for key, entry in value.items() for token in (f"--{name}", f"{key}={entry}")]
    if isinstance(value, list):
        if action.nargs is None:
            return [token for entry in value for token in (f"--{name}", str(entry))]
        return [f"--{name}", *map(str, value)]
    return [f"--{name}={value}"] if action.nargs is None else [f"--{name}", str(value)]


def _config_path(arguments: list[str]) -> str | None:
    for position, argument in enumerate(arguments):
        if argument == "--config" and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith("--config="):
            return argument.removeprefix("--config=")
    return None
