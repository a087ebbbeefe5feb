"""Run by mpiexec: lanes over ranks, then columns, which leave one rank without memory at the end."""

import columns
import lanes

if __name__ == "__main__":
    lanes.main()
    columns.main()
