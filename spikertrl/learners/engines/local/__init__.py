"""The rows of a unit in its own columns: SnAp(1), e-prop, RFLO."""
