"""Draws the web client's icons, the same picture as its `icon.svg`: `uv run python scripts/icons.py`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).parent.parent / "packages/chat-server/src/chat_server/webclient/icons"
GROUND = (15, 118, 110, 255)
WHITE = (255, 255, 255, 255)
CLEAR = (0, 0, 0, 0)
SMOOTH = 8  # drawn so many times as large


def picture(side: int, *, ground: str = "rounded", scale: float = 1.0) -> Image.Image:
    """``ground``: rounded, full (for systems that cut the shape themselves), or none (the bubble alone)."""
    size = side * SMOOTH
    image = Image.new("RGBA", (size, size), GROUND if ground == "full" else CLEAR)
    pen = ImageDraw.Draw(image)
    if ground == "rounded":
        pen.rounded_rectangle((0, 0, size - 1, size - 1), size / 4, GROUND)

    def at(x: float, y: float) -> tuple[float, float]:
        return tuple(size / 2 + (value - 32) / 64 * size * scale for value in (x, y))  # type: ignore[return-value]

    unit = size / 64 * scale
    pen.rounded_rectangle((*at(16, 14), *at(48, 41)), 7 * unit, WHITE)
    pen.polygon([at(21, 40), at(21, 49), at(30.5, 40.5)], WHITE)
    for x in (25.5, 32, 38.5 + 1):
        (cx, cy), radius = at(x, 28), 2.7 * unit
        pen.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), CLEAR if ground == "none" else GROUND)
    return image.resize((side, side), Image.Resampling.LANCZOS)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    picture(192).save(FOLDER / "192.png", optimize=True)
    picture(512).save(FOLDER / "512.png", optimize=True)
    picture(512, ground="full", scale=0.8).save(FOLDER / "maskable.png", optimize=True)
    picture(96, ground="none", scale=1.6).save(FOLDER / "badge.png", optimize=True)


if __name__ == "__main__":
    main()
