"""The hypervolume of a set of points: the volume that they dominate up to a reference point, exactly.

Points are tuples of costs: less is better in every coordinate. Up to three coordinates are swept, as in
C. M. Fonseca, L. Paquete and M. López-Ibáñez, "An Improved Dimension-Sweep Algorithm for the Hypervolume
Indicator", IEEE Congress on Evolutionary Computation (2006) 1157-1163. For more it is the algorithm WFG with
slicing, of L. While, L. Bradstreet and L. Barone, "A Fast Way of Calculating Exact Hypervolumes", IEEE
Transactions on Evolutionary Computation 16 (2012) 86-95: a volume is the sum of what each point adds to those
before it, and what a point adds is its own box less the volume of the others within it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import le, lt, sub

Point = tuple[float, ...]


def hypervolume(points: Iterable[Point], reference: Point) -> float:
    """The volume between the points and the reference point.

    Parameters
    ----------
    points
        Each of the length of the reference point. One that is not below it in every coordinate adds nothing.
    reference
        The corner up to which a point dominates.
    """
    return _volume([point for point in points if _below(point, reference)], reference)


def added(point: Point, points: Iterable[Point], reference: Point) -> float:
    """How much the hypervolume of the points grows with one more; zero where it is dominated."""
    if not _below(point, reference):
        return 0.0
    return _box(point, reference) - hypervolume(_within(point, points), reference)


def nondominated(points: Iterable[Point]) -> list[Point]:
    """The points that no other one equals or beats in every coordinate, sorted; of equal ones, one."""
    front: list[Point] = []
    for point in sorted(points):
        # What beats a point comes before it in this order; what came last is the likeliest to.
        if not any(all(map(le, other, point)) for other in reversed(front)):
            front.append(point)
    return front


def _volume(points: Sequence[Point], reference: Point) -> float:
    """The hypervolume of points below the reference point."""
    match len(reference):
        case 1:
            return reference[0] - min(points)[0] if points else 0.0
        case 2:
            return _swept([(x, y, 0.0) for x, y in points], (*reference, 1.0))
        case 3:
            return _swept(points, reference)
    volume = 0.0
    before: list[Point] = []
    # By the last coordinate, so that within a point's box all those before it reach its whole depth: a slice.
    for point in sorted(nondominated(points), key=lambda each: each[-1]):
        base, corner = point[:-1], reference[:-1]
        slice_ = _box(base, corner) - _volume(_within(base, before), corner)
        volume += (reference[-1] - point[-1]) * slice_
        before.append(base)
    return volume


def _swept(points: Sequence[Point], reference: Point) -> float:
    """The volume in three dimensions: by rising z, how much each point adds to the area of those before."""
    x_end, y_end, z_end = reference
    # The outline of the area: from xs[i] to xs[i + 1] it begins at ys[i], and ends at y_end.
    xs, ys = [-math.inf, x_end], [y_end, -math.inf]
    volume = 0.0
    for x, y, z in sorted(points, key=lambda each: each[2]):
        first = last = bisect_right(xs, x) - 1
        left, area = x, 0.0
        while ys[last] > y:
            area += (xs[last + 1] - left) * (ys[last] - y)
            left = xs[last + 1]
            last += 1
        if last == first:
            continue  # it lies in the area
        if xs[first] < x:
            first += 1
        xs[first:last], ys[first:last] = [x], [y]
        volume += area * (z_end - z)
    return volume


def _within(point: Point, points: Iterable[Point]) -> list[Point]:
    """The corners of what the points dominate within the box of one."""
    return [tuple(map(max, point, other)) for other in points]


def _box(point: Point, reference: Point) -> float:
    return float(math.prod(map(sub, reference, point)))


def _below(point: Point, reference: Point) -> bool:
    return all(map(lt, point, reference))
