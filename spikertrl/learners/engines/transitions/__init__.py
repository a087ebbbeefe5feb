"""Exact RTRL over a whole sequence by its state transitions."""
