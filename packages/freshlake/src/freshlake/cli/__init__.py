"""The command `freshlake`."""

from freshlake.cli._main import app, main

__all__ = ["app", "main"]
