"""The work of the learners: one folder for each way of computing."""
