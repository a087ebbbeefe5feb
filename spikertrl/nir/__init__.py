"""Networks from and to the Neuromorphic Intermediate Representation (NIR)."""

from .nodes import NIRError
from .read import from_nir
from .units import nir_model, primitive_of
from .write import to_nir

__all__ = [
    "NIRError",
    "from_nir",
    "nir_model",
    "primitive_of",
    "to_nir",
]
