"""Which options go together: those that change nothing, exclude or need another, as data.

Whoever passes an option believes that it counts, so one that does not is refused, also with its
default value. Each command names its rules (`refuses`), and they are checked before anything else.

Used by: the commands.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rqvae_lib.cli.data_options import OPTION_NAMES

Given = Mapping[str, Any]  # the values of a command's options, by the parameters' names


class Useless(NamedTuple):
    """Options that would change nothing in a case."""

    options: tuple[str, ...]  # the parameters' names
    when: Callable[[Given], bool]
    why: str  # "--residual-kmeans is fitted and not trained"; {option} stands for its value


class OneOf(NamedTuple):
    """Options of which at most one can be given, or exactly one."""

    options: tuple[str, ...]
    required: bool = False
    said: str = ""  # how to name them; by default "either --steps or --epochs"


class Needs(NamedTuple):
    """An option that is of no use without another one."""

    option: str
    other: str
    why: str  # the sentence: "{histories} has no texts to make IDs of: pass a file of IDs as --ids"


Rule = Useless | OneOf | Needs


def refuses(*rules: Rule) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Declare the rules of a command."""

    def declare(command: Callable[..., None]) -> Callable[..., None]:
        command.rules = rules  # type: ignore[attr-defined]
        return command

    return declare


def check_options(
    command: Callable[..., None] | None, given: Given, typed: Mapping[str, str]
) -> None:
    """Refuse options that break a command's rules.

    Args:
        command: what `refuses` declared rules of; for another, nothing happens.
        given: the values of all options, by the parameters' names.
        typed: those that were given, as they are typed: "--no-header".

    Raises:
        ValueError: if a rule is broken.
    """
    for rule in getattr(command, "rules", ()):
        if isinstance(rule, Needs):
            if rule.option in typed and rule.other not in typed:
                raise ValueError(rule.why.format_map(given))
            continue
        named = [typed[name] for name in rule.options if name in typed]
        if isinstance(rule, OneOf):
            if len(named) > 1 or (rule.required and not named):
                words = rule.said or f"either {' or '.join(_options(rule.options))}"
                end = "and only one of them" if rule.required else "not both"
                raise ValueError(f"pass {words}, {end}")
        elif named and rule.when(given):
            raise ValueError(would_change_nothing(rule.why.format_map(given), named))


def would_change_nothing(why: str, named: list[str]) -> str:
    """Return the sentence that refuses options.

    Args:
        why: "--residual-kmeans is fitted and not trained".
        named: the options, as they are typed.
    """
    it = "it" if len(named) == 1 else "them"
    return f"{why}, so {' and '.join(named)} would change nothing: leave {it} out"


def _options(names: tuple[str, ...]) -> list[str]:
    return [f"--{name}".replace("_", "-") for name in names]


# Rules that several commands have

SEED_OF_RANDOM = Useless(
    ("seed",),
    lambda given: given["tokenizer"] != "random",
    "nothing but a 'random' tokenizer is drawn",
)
DATA_OF_HISTORIES = Useless(
    tuple(OPTION_NAMES),
    lambda given: given["histories"] is not None,
    "--histories {histories} has the interactions",
)
SPLIT_OF_HISTORIES = Useless(
    ("split",),
    lambda given: given["content"] == "text",
    "texts are not split (--content text)",
)
WORKERS_OF_RAY = Useless(
    ("workers",), lambda given: given["engine"] != "ray", "only Ray has workers (--engine ray)"
)
