"""Errors that a person can mend: the command line prints them as one line."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


class UserError(Exception):
    """Something given from outside is wrong; the message says what, where and what is right.

    It is one line whatever stands in a file: what cannot be printed is spelt (`\\n`).
    """

    def __init__(self, message: str):
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


class ConfigError(UserError):
    """A key of the config is wrong."""

    def __init__(self, key: str, problem: str, allowed: str):
        super().__init__(f"config error: {key}: {problem}; allowed: {allowed}")
