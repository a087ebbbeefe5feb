"""Beyond one process: one network shared out over MPI ranks by columns (exact) or by lanes."""

from .columns import bytes_per_rank, over_columns
from .lanes import my_lanes, over_lanes

__all__ = ["bytes_per_rank", "my_lanes", "over_columns", "over_lanes"]
