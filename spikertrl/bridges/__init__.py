"""Networks in other packages: JAX, PyTorch, scikit-learn, river."""
