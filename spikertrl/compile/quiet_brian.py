"""Importing this imports Brian2 and leaves the process as it was; it stands before the first ``from brian2 import``."""

from .brian_device import import_brian2

import_brian2()
