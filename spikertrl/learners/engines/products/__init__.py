"""Exact RTRL over a piece by the product of its Jacobians."""
