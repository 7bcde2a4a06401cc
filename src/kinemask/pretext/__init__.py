"""Pretext tasks: a method is a task in a module here, its settings, a value in `methods` and its recipes."""

from kinemask.pretext.methods import NAMES, Method, method, register

__all__ = ["NAMES", "Method", "method", "register"]
