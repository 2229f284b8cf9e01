"""Errors that the user can fix: the command line prints each as one line."""

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error, or its type if it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def one_line(text: object, most: int = 300) -> str:
    """Return `text` with unprintable characters escaped (`\\n`); if long, without its middle."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
    start, end = 2 * most // 3 - 3, most // 3 - 2
    return line if len(line) <= most else f"{line[:start]} ... {line[-end:]}"


def suggestion(word: object, known: Iterable[str]) -> str:
    """Return ` (did you mean X?)` if a known word is close, else an empty string."""
    known = [str(one) for one in islice(known, 1000)]  # a search takes long among more
    close = get_close_matches(one_line(word), known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


class UserError(Exception):
    """A mistake of the user; one line says what is wrong, where, and what would be right."""

    def __init__(self, message: str):
        super().__init__(one_line(message))


class ConfigError(UserError):
    """Mistakes in a config, one line each."""

    def __init__(self, *mistakes: str):
        Exception.__init__(self, "\n".join(one_line(f"config error: {m}") for m in mistakes))
