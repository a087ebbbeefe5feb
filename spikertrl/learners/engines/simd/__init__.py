"""Loops over vectors of a register's width."""
