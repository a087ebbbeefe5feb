"""Networks as modules of PyTorch; needs the extra ``torch``.

>>> import spikertrl as srl
>>> layer = srl.torch.Layer(net, srl.BPTT())               # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .optional import member

if TYPE_CHECKING:
    from .bridges.torch_layer import Layer

__all__ = ["Layer"]


def __getattr__(name: str) -> Any:
    return member(__name__, __all__, "torch", "spikertrl.bridges.torch_layer", name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
