"""Errors that the user can fix: the command line prints each as one line."""

from collections.abc import Iterable
from difflib import get_close_matches


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def one_line(text: object) -> str:
    """`text` with what cannot be printed spelt out (`\\n`)."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def suggestion(word: object, known: Iterable[str]) -> str:
    """` (did you mean X?)` where a known word is close; else nothing."""
    close = get_close_matches(str(word), [str(one) for one in known], n=1)
    return f" (did you mean {close[0]}?)" if close else ""


class UserError(Exception):
    """Something given from outside is wrong; one line says what, where and what is right."""

    def __init__(self, message: str):
        super().__init__(one_line(message))


class ConfigError(UserError):
    """Mistakes in a config, a line each."""

    def __init__(self, *mistakes: str):
        Exception.__init__(self, "\n".join(f"config error: {one_line(m)}" for m in mistakes))
