"""Errors that a person can mend: the command line prints them as one line."""

from __future__ import annotations


class UserError(Exception):
    """Something given from outside is wrong; the message says what, where and what is right."""


class ConfigError(UserError):
    """A key of the config is wrong."""

    def __init__(self, key: str, problem: str, allowed: str):
        super().__init__(f"config error: {key}: {problem}; allowed: {allowed}")
