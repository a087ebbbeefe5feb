"""Words of the model language, and its text split into statements."""

from __future__ import annotations

import re
from collections.abc import Callable

FUNCTIONS = frozenset("event sigmoid tanh exp log sqrt sin cos abs clip where int sign".split())
CONSTANTS = frozenset({"dt", "pi", "e"})
# Units of Brian2 may stand in the text as they are: mV, msecond, Hz, ...
UNITS = re.compile(
    "[pnumkM]?(volt|amp|ohm|siemens|farad|second|hertz|metre|meter|mole)|[pnumkM](V|A|F|S|Hz|ohm)|[pnum]s|[num]M|[cmu]m|Hz"
)


def statements(text: str, fail: Callable[[str], None]) -> list[tuple[str, str, str, str]]:
    """Split assignment text into (name, operator, right-hand side, line); ``a += b`` becomes ``a = a + (b)``."""
    found = []
    for line in filter(None, (re.sub(r"#.*", "", part).strip() for part in re.split(r"[\n;]", text))):
        match = re.match(r"(\w+)\s*(=|\+=|-=|\*=|/=)\s*([^=].*)$", line)
        if not match:
            fail(f"cannot read the statement {line!r}; write 'name = expression'")
            continue
        name, operator, right = match.groups()
        found.append((name, "=", right if operator == "=" else f"{name} {operator[0]} ({right})", line))
    return found
