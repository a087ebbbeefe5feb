"""Exact RTRL and SnAp, row by row: at every step, or by events."""
