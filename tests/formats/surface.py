"""The command line as its users see it: every command with its arguments, options and choices."""

from typing import Any

import click


def surface() -> dict[str, Any]:
    """``{command: {arguments: [name], options: {spellings: choices or null}}}``; the group is ``""``."""
    from eed_edge.cli import main

    context = click.Context(main)
    commands = {name: main.get_command(context, name) for name in main.list_commands(context)}
    return {name: _parameters(command) for name, command in {"": main, **commands}.items()}


def _parameters(command: click.Command) -> dict[str, Any]:
    options = [part for part in command.params if isinstance(part, click.Option)]
    return {
        "arguments": [part.name for part in command.params if isinstance(part, click.Argument)],
        "options": {" ".join([*part.opts, *part.secondary_opts]): _choices(part) for part in options},
    }


def _choices(option: click.Option) -> list[str] | None:
    return list(option.type.choices) if isinstance(option.type, click.Choice) else None
