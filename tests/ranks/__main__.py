"""Run by mpiexec: lanes over ranks, checkpoints, then columns, which leave one rank without memory at the end."""

import checkpoints
import columns
import lanes

if __name__ == "__main__":
    lanes.main()
    checkpoints.main()
    columns.main()
