"""Run by mpiexec: lanes over ranks, checkpoints, an experiment, then columns, which leave one rank without memory."""

import checkpoints
import columns
import experiment
import lanes

if __name__ == "__main__":
    lanes.main()
    checkpoints.main()
    experiment.run()
    columns.main()
