"""The adjoint of some steps, backwards in time."""
