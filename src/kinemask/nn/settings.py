"""Settings of heads."""

from kinemask.nn.heads import HeadSettings

__all__ = ["HeadSettings"]
