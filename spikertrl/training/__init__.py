"""Training: gradients of sequences, runs over a task, and learning from a stream."""
