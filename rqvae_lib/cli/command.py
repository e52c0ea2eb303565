"""What happens to every command before it begins: its options and outputs are checked.

Used by: `rqvae_lib.cli.main`, for all commands.
"""

import math
from typing import Any

import typer
from typer.core import TyperCommand

from rqvae_lib.cli.conflicts import check_options
from rqvae_lib.cli.outputs import check_outputs, made_plain
from rqvae_lib.cli.processes import joined_for
from rqvae_lib.ops.torchrun import number_of_processes
from rqvae_lib.training.config import LARGEST_SEED

LARGEST_NUMBER = LARGEST_SEED  # of any option: more would not fit into 32 bits
MAY_BE_EMPTY = ("history",)  # that of somebody who had nothing yet


class Command(TyperCommand):
    """A command whose options and outputs are checked before it begins."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; refuse empty ones, as a path the working folder, and NULs."""
        if not ctx.resilient_parsing:
            for argument in args:
                if "\0" in argument:
                    raise ValueError(f"{argument!r} holds a NUL character: leave that out")
            given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
            for parameter in self.params:
                value = given.get(parameter.name)
                values = value if isinstance(value, list | tuple) else [value]
                if parameter.name not in MAY_BE_EMPTY and "" in values:
                    is_option = parameter.param_type_name == "option"
                    name = parameter.opts[0] if is_option else str(parameter.name).upper()
                    raise ValueError(f"{name} is empty: leave it out, or give it a value")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Check what was given, and run the command, in one process or in several."""
        with joined_for(ctx.info_name, self.callback, ctx.params):
            if number_of_processes() == 1:
                ctx.params = self._checked(ctx)
            else:  # files appear while the first process is at work, so only the first looks
                from rqvae_lib.ops.world import current_world

                ctx.params = current_world().from_first(lambda: self._checked(ctx))
            return super().invoke(ctx)

    def _checked(self, ctx: Any) -> dict[str, Any]:
        """Return what was given, once it is known that the command can begin."""
        typed = all_typed(ctx)
        for name, option in typed.items():
            _check_number(option, ctx.params.get(name))
        check_options(self.callback, ctx.params, typed)
        given = made_plain(self.callback, ctx.params)
        check_outputs(self.callback, given)
        return given


def _check_number(option: str, value: object) -> None:
    """Refuse numbers that none of the options can mean, whatever its own range is."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{option} is {value}; expected a finite number")
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise ValueError(f"{option} is {value}; it must be at most {LARGEST_NUMBER}")


def all_typed(context: typer.Context) -> dict[str, str]:
    """Return the options and arguments that were given, by name, as they are typed."""
    found = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if source is None or source.name == "DEFAULT":  # its class is click's, or typer's copy
            continue
        words = parameter.opts
        if context.params.get(str(parameter.name)) is False and parameter.secondary_opts:
            words = parameter.secondary_opts
        found[str(parameter.name)] = words[0]
    return found
