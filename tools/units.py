"""Numbers as a reader of a page wants them: two digits that say something, and a unit."""

from __future__ import annotations

import math

_SIZES = {"PB": 1e15, "TB": 1e12, "GB": 1e9, "MB": 1e6, "B": 1.0}
_DURATIONS = {"d": 86_400.0, "h": 3600.0, "min": 60.0, "s": 1.0}


def number(value: float) -> str:
    """Two digits below 100, all from there, a power of ten from ten million."""
    if value >= 1e7:
        digits, _, exponent = f"{value:.1e}".partition("e")
        return f"{digits} x 10^{int(exponent)}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def size(n_bytes: float) -> str:
    return _scaled(n_bytes, _SIZES)


def duration(seconds: float) -> str:
    """At most days; a century is never."""
    return _scaled(seconds, _DURATIONS) if seconds < 36_525 * 86_400 else "never"


def times(value: float) -> str:
    """A factor; a dash where there is none."""
    return f"{value:.2f}" if math.isfinite(value) else "-"


def power_of_ten(value: int) -> str:
    return f"10^{round(math.log10(value))}"


def _scaled(value: float, units: dict[str, float]) -> str:
    name = next((name for name, unit in units.items() if value >= unit), list(units)[-1])
    return f"{number(value / units[name])} {name}"
