# SPDX-License-Identifier: Apache-2.0
"""How numbers are written, the same in printed tables and on pages."""

def number(value: float | None) -> str:
    """Four decimals, or two digits where these would show none."""
    if value is None:
        return "-"
    # Adding 0 leaves no sign to it.
    return f"{value + 0.0:.4f}" if value == 0 or abs(value) >= 5e-4 else f"{value:.1e}"


def interval(bounds: tuple[float, float] | None) -> str:
    return "-" if bounds is None else f"{number(bounds[0])} to {number(bounds[1])}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def counted(count: float | None) -> str:
    """1.23 M: three digits and a unit."""
    if count is None:
        return "-"
    for limit, unit in ((1e15, None), (1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if count >= 0.9995 * limit:
            return f"{count:.1e}" if unit is None else f"{count / limit:.3g}{unit}"
    return f"{count:.3g}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def size(count: float) -> str:
    """1.5 GB: powers of ten."""
    for limit, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= 0.9995 * limit:
            return f"{count / limit:.3g} {unit}"
    return f"{count:.3g} B"
