"""The methods, by name."""

from kinemask.pretext import NAMES, method, register

__all__ = ["NAMES", "method", "register"]
