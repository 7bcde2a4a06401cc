"""Errors that are not mistakes."""

from __future__ import annotations


class Stopped(Exception):
    """Work was asked to stop (Ctrl-C, SIGTERM) and has saved its state."""
