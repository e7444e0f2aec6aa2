"""Rate against distortion (Alemi et al. 2018, arXiv:1711.00464), with lines on which the bound is the same."""

from collections.abc import Mapping, Sequence
from pathlib import Path

Place = tuple[float, float]  # rate and distortion
FAR = 10.0  # points from which on a name is tied to its place


def draw_rate_distortion(
    places: Mapping[str, Place], picture: Path, title: str, lines: Sequence[Sequence[Place]] = ()
) -> None:
    """Draw named places, and lines that join some of them, into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 5))
    points = {name: axes.plot(*place, "o", markersize=5)[0] for name, place in places.items()}
    for line in lines:
        axes.plot(*zip(*sorted(line), strict=True), "-", linewidth=1, color="grey", zorder=0)
    axes.margins(x=0.25, y=0.1)  # for the names
    left, right, low, high = *axes.get_xlim(), *axes.get_ylim()
    spacing = next(step for step in (0.5, 1, 2, 5, 10, 20, 50, 100, 1000) if (high - low) / step <= 10)
    for number in range(int((left + low) / spacing), int((right + high) / spacing) + 2):
        bound = number * spacing
        axes.plot((left, right), (bound - left, bound - right), ":", linewidth=0.6, color="lightgrey", zorder=-1)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    axes.set_xlabel("rate, nats a sentence")
    axes.set_ylabel("distortion, nats a sentence")
    axes.set_title(f"{title}; the bound is the same along a dotted line", fontsize=10)
    figure.tight_layout()
    taken: list[Place] = []  # where names stand, in points
    for name, place in sorted(places.items(), key=lambda item: item[1][1]):
        x, y = axes.transData.transform(place) * 72 / figure.dpi
        heights = (y + up for step in range(50) for up in (3 + 10 * step, -7 - 10 * step))
        at = next(height for height in heights if not any(abs(x - u) < 90 and abs(height - v) < 9 for u, v in taken))
        taken.append((x, at))
        color = points[name].get_color()
        tie = {"arrowstyle": "-", "relpos": (0, 0.5), "linewidth": 0.6, "color": color} if abs(at - y) > FAR else None
        axes.annotate(name, place, (6, at - y), fontsize=8, textcoords="offset points", color=color, arrowprops=tie)
    figure.savefig(picture, dpi=120)
    pyplot.close(figure)
