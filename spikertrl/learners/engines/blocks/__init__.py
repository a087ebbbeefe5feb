"""The influence in blocks of units that share their columns."""
