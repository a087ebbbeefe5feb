"""Learning from reward in a stream: no replay, no batches, one step at a time. See ``stream``."""

from .bounded import bounded_rate
from .stream import StreamAC, StreamQ

__all__ = ["StreamAC", "StreamQ", "bounded_rate"]
