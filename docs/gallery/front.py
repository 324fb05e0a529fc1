"""Draw what students keep of their teacher against how soon they answer, from the results of a sweep, as SVG.

    limbeck sweep search_spaces/front.yaml
    python docs/gallery/front.py front --to docs/gallery/front.svg [--home DIR] [--price METRIC]

Every complete trial is a point: its retention on the held-out test split, and its latency as its trial measured it. The
line joins those that no other trial beats in both.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from html import escape
from math import floor, log10
from pathlib import Path

import pandas as pd

from limbeck.cli.places import add_places, places
from limbeck.store import open_reader

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 74, 24, 74, 62
KEPT = "metric:test/retention"
PRICE = "latency_ms/onnx/batch1/p50"
BLUE, ORANGE, GREY, LINE, INK = "#2A639F", "#D45700", "#808690", "#E3E6EA", "#22262B"


def points(database: str, sweep: str, price: str) -> tuple[pd.DataFrame, str]:
    """The complete trials of a sweep with `x`, `y` and `name`, fastest first, and what they were measured on."""
    with open_reader(database) as reader:
        frame, task = reader.trial_frame(sweep), reader.sweep(sweep).task
    column = f"metric:{price}"
    if column not in frame or KEPT not in frame:
        raise SystemExit(f"{sweep}: no complete trial has both test/retention and {price}")
    frame = frame[(frame["state"] == "complete") & frame[KEPT].notna() & frame[column].notna()]
    values = [name for name in frame if name.startswith("value:")]
    names = [", ".join(word(name[6:], row[name]) for name in values) for _, row in frame.iterrows()]
    threads = sorted({int(n) for n in frame["metric:threads"].dropna()}) if "metric:threads" in frame else []
    about = f"{task}, sweep {sweep}, {len(frame)} trials"
    about += f", {threads[0]} thread{'s' if threads[0] > 1 else ''}" if len(threads) == 1 else ""
    return frame.assign(x=frame[column], y=frame[KEPT], name=names).sort_values(["x", "y"]), about


def word(path: str, value: object) -> str:
    """A setting in a few letters: `3 layers`, `intermediate 512`; a whole section's one after the other."""
    if isinstance(value, str) and value.startswith("{"):
        return ", ".join(word(name, one) for name, one in json.loads(value).items())
    last, number = path.rsplit(".", 1)[-1], f"{value:g}" if isinstance(value, int | float) else str(value)
    return f"{number} layer{'s' if number != '1' else ''}" if last == "layers" else f"{last} {number}"


def front(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that no other beats in both; `frame` is sorted by `x`."""
    return frame[frame["y"] > frame["y"].cummax().shift(fill_value=float("-inf"))]


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers from `low` to `high`, both included."""
    rough = (high - low) / about
    unit = 10.0 ** floor(log10(rough))
    step = next(unit * k for k in (1, 2, 2.5, 5, 10) if unit * k >= rough)
    first = floor(low / step)
    found = [round((first + i) * step, 10) for i in range(2 * about + 4)]
    last = next(i for i, one in enumerate(found) if one >= high)
    return found[: last + 1]


def drawn(frame: pd.DataFrame, title: str, about: str, price: str) -> str:
    """The picture."""
    across = ticks(0.0, float(frame["x"].max()) * 1.12)
    up = ticks(min(float(frame["y"].min()), 0.98), max(float(frame["y"].max()), 1.0))

    def x(value: float) -> float:
        return LEFT + (value - across[0]) / (across[-1] - across[0]) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - up[0]) / (up[-1] - up[0]) * (HEIGHT - TOP - BOTTOM)

    def text(px: float, py: float, words: str, more: str = "") -> str:
        return f'<text x="{px:.1f}" y="{py:.1f}" {more}>{escape(words)}</text>'

    def level(value: float, words: str, colour: str) -> list[str]:
        line = f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="{colour}" stroke-dasharray="5 4"/>'
        return [line, text(LEFT + 6, y(value) - 5, words, f'fill="{colour}" font-size="12"')]

    best = front(frame)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13" fill="{INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#FFFFFF"/>',
        text(LEFT, 24, title, 'font-size="16" font-weight="bold"'),
        text(LEFT, 43, about, f'fill="{GREY}"'),
        *_axes([(x(one), f"{one:g}") for one in across], [(y(one), f"{one:.1%}") for one in up]),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, price, 'text-anchor="middle"'),
        text(
            -(TOP + HEIGHT - BOTTOM) / 2,
            18,
            "retention on held-out text",
            'text-anchor="middle" transform="rotate(-90)"',
        ),
        *level(1.0, "the teacher", GREY),
        *level(0.99, "99 %", ORANGE),
        _steps([(x(one.x), y(one.y)) for one in best.itertuples()]),
    ]
    for one in frame.itertuples():
        leads = one.Index in best.index
        colour, size = (BLUE, 6) if leads else (GREY, 4.5)
        out.append(f'<circle cx="{x(one.x):.1f}" cy="{y(one.y):.1f}" r="{size}" fill="{colour}"/>')
        # A name goes to the right of its point, below the line, where the picture has room for it.
        aside, end = (9, "start") if x(one.x) < 0.75 * WIDTH else (-10, "end")
        style = f'fill="{colour}" font-size="11" text-anchor="{end}"'
        out.append(text(x(one.x) + aside, y(one.y) + (15 if leads else 4), one.name, style))
    return "\n".join([*out, "</svg>"]) + "\n"


def _axes(across: Iterable[tuple[float, str]], up: Iterable[tuple[float, str]]) -> list[str]:
    out = []
    for px, words in across:
        out.append(f'<path d="M{px:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{LINE}"/>')
        out.append(f'<text x="{px:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{words}</text>')
    for py, words in up:
        out.append(f'<path d="M{LEFT} {py:.1f}H{WIDTH - RIGHT}" stroke="{LINE}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{py + 4:.1f}" text-anchor="end">{words}</text>')
    return out


def _steps(places: Sequence[tuple[float, float]]) -> str:
    path = f"M{places[0][0]:.1f} {places[0][1]:.1f}" + "".join(f"H{px:.1f}V{py:.1f}" for px, py in places[1:])
    return f'<path d="{path}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep")
    parser.add_argument("--to", type=Path, required=True)
    add_places(parser)
    parser.add_argument("--price", default=PRICE, help=f"a metric of the trials (default {PRICE})")
    parser.add_argument("--title", default="What students keep of their teacher, and how soon they answer")
    parser.add_argument("--axis", default="milliseconds for one text in ONNX Runtime (median)")
    options = parser.parse_args()
    frame, about = points(places(options).database, options.sweep, options.price)
    options.to.write_text(drawn(frame, options.title, about, options.axis))
    print(json.dumps({row.name: [round(row.x, 3), round(row.y, 4)] for row in front(frame).itertuples()}))


if __name__ == "__main__":
    main()
