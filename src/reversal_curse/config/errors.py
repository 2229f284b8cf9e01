"""Errors that the user can fix: the command line prints each as one line."""

from collections.abc import Iterable
from difflib import get_close_matches


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error, or its type if it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def one_line(text: object) -> str:
    """Return `text` with unprintable characters escaped (`\\n`)."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def suggestion(word: object, known: Iterable[str]) -> str:
    """Return ` (did you mean X?)` if a known word is close, else an empty string."""
    close = get_close_matches(str(word), [str(one) for one in known], n=1)
    return f" (did you mean {close[0]}?)" if close else ""


class UserError(Exception):
    """A mistake of the user; one line says what is wrong, where, and what would be right."""

    def __init__(self, message: str):
        super().__init__(one_line(message))


class ConfigError(UserError):
    """Mistakes in a config, one line each."""

    def __init__(self, *mistakes: str):
        Exception.__init__(self, "\n".join(f"config error: {one_line(m)}" for m in mistakes))
