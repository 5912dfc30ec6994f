"""Seconds and bytes of a size from those of two others.

With tokens n known, the work of a step between two measured sizes is a n + b n^2 (the transformer's
layers and its attention) through both of them, communication taken off before and put back after:

    seconds(n) = (a n + b n^2) / degree + communication(n, degree, link)

Where that would bend downwards (b < 0: small sizes, where launching costs more than computing), and
where only volumes can be compared, it is the straight line. Both hit the measured points and rise
between points that rise. Beyond the ends the curve goes on; whoever asks takes two points that are
far enough from one another for that.
Leaving out every inner shape of the paper's (repaired) tables in turn, at all degrees, it is off by
1.4 % on average for CogVideoX, 3.6 % for HunyuanVideo, 13 % for FLUX and 12 % for SD3; the straight
line over volumes by 21, 11, 24 and 9 %.

>>> low, high = Point(size=1000, seconds=1.0), Point(size=3000, seconds=9.0)
>>> seconds_at(low, high, Point(size=2000), curved=True)
4.0
>>> seconds_at(low, high, Point(size=2000), curved=False)
5.0
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One size, with what is known of it."""

    size: int
    """Tokens, or volume."""
    seconds: float = 0.0
    communication_s: float = 0.0
    peak_bytes: int = 0


def seconds_at(low: Point, high: Point, asked: Point, *, curved: bool) -> float:
    """Seconds of the asked size; may be negative far below `low`, which the caller bounds."""
    start = low.seconds - low.communication_s
    end = high.seconds - high.communication_s
    if min(start, end) <= 0:  # less than its communication: the model of it does not hold here
        return _line(low.size, low.seconds, high.size, high.seconds, asked.size)
    return asked.communication_s + _work(low.size, start, high.size, end, asked.size, curved)


def peak_at(low: Point, high: Point, size: int) -> int:
    """Bytes of a size: the straight line, in proportion below the smaller one.

    The larger of the two where one is unknown (0).
    """
    if not low.peak_bytes or not high.peak_bytes:
        return max(low.peak_bytes, high.peak_bytes)
    if size <= low.size:
        return round(low.peak_bytes * size / low.size)
    line = round(_line(low.size, low.peak_bytes, high.size, high.peak_bytes, size))
    return line if size <= high.size else max(line, high.peak_bytes)


def _work(low: int, start: float, high: int, end: float, size: int, curved: bool) -> float:
    b = (end / high - start / low) / (high - low)
    if not curved or b < 0:
        return _line(low, start, high, end, size)
    a = start / low - b * low
    return a * size + b * size * size


def _line(low: int, start: float, high: int, end: float, size: int) -> float:
    return start + (end - start) * (size - low) / (high - low)
