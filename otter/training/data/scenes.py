"""Grounds: plain colours, gradients, tiles like those of an app's icon, and painted places."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pinxit_otter import scene

from .colour import PAINTS, Floats, Paint, Pixels, from_lch
from .dice import Dice

_LARGE = 2
"""Scenes are painted at this many times the size and then reduced, for smooth edges."""

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Ground:
    """What is behind the things."""

    kind: str = "none"
    """`none` (transparent), `plain`, `gradient`, `tile` (rounded corners), `disc`, or a place of PLACES."""
    colour: str | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A painted place and the words for being there."""

    paint: Callable[[ImageDraw.ImageDraw, int, Dice], None]
    phrases: tuple[str, ...]
    floor: float | None
    """Height at which things stand, as a fraction from the top; None where they float."""


def paint(ground: Ground, side: int) -> Pixels:
    """The ground, `side` pixels square."""
    if ground.kind == "none":
        return np.zeros((side, side, 4), np.uint8)
    dice = Dice(ground.seed)
    if ground.kind in PLACES:
        return _place(PLACES[ground.kind], side, dice)
    assert ground.colour is not None
    opaque = _coloured(ground, side, dice)
    if ground.kind in ("tile", "disc"):
        return _masked(opaque, _shape(ground.kind, side))
    return opaque


def shade(colour: str, dice: Dice) -> Colour:
    """A colour by name, a little different each time and softer than a thing's."""
    base = PAINTS[colour]
    lightness = base.lightness + dice.between(-0.03, 0.06 if base.lightness < 0.9 else 0.04)
    return _rgb(Paint(lightness, base.chroma * dice.between(0.65, 1.0), base.hue + dice.between(-6, 6)))


def _rgb(one: Paint) -> Colour:
    numbers = (np.array([number], np.float32) for number in (one.lightness, one.chroma, one.hue))
    red, green, blue = np.rint(from_lch(*numbers)[0] * 255).astype(int)
    return int(red), int(green), int(blue)


def _coloured(ground: Ground, side: int, dice: Dice) -> Pixels:
    assert ground.colour is not None
    first = np.array(shade(ground.colour, dice), np.float32)
    second = first
    if ground.kind == "gradient" or (ground.kind == "tile" and dice.chance(0.4)):
        second = np.clip(first * dice.between(0.65, 0.85), 0, 255)
    return _opaque(_gradient(first, second, side, dice.between(0, 2 * math.pi)))


def _gradient(first: Floats, second: Floats, side: int, angle: float) -> Floats:
    line = np.linspace(-1, 1, side, dtype=np.float32)
    part = np.clip((math.cos(angle) * line[None] + math.sin(angle) * line[:, None]) * 0.5 + 0.5, 0, 1)[..., None]
    return first * (1 - part) + second * part


def _opaque(rgb: Floats) -> Pixels:
    full = np.full((*rgb.shape[:2], 1), 255, np.float32)
    return np.rint(np.concatenate([rgb, full], 2)).astype(np.uint8)


def _shape(kind: str, side: int) -> Pixels:
    big = Image.new("L", (4 * side, 4 * side))
    draw = ImageDraw.Draw(big)
    edge = 4 * side * 0.04
    box = (edge, edge, 4 * side - edge, 4 * side - edge)
    if kind == "disc":
        draw.ellipse(box, fill=255)
    else:
        draw.rounded_rectangle(box, radius=4 * side * 0.21, fill=255)
    return np.array(big.resize((side, side), Image.Resampling.BOX))


def _masked(picture: Pixels, mask: Pixels) -> Pixels:
    return np.rint(picture * (mask[..., None] / np.float32(255))).astype(np.uint8)


def _place(place: Place, side: int, dice: Dice) -> Pixels:
    large = side * _LARGE
    image = Image.new("RGB", (large, large))
    place.paint(ImageDraw.Draw(image), large, dice)
    return _opaque(np.array(image.resize((side, side), Image.Resampling.BOX), np.float32))


# --- the places -------------------------------------------------------------------------------------------------------


def _mixed(dice: Dice, *shades: Colour) -> Colour:
    """One of the shades, moved a little."""
    red, green, blue = (min(255, max(0, round(part + dice.between(-10, 10)))) for part in dice.one(shades))
    return red, green, blue


def _sky(draw: ImageDraw.ImageDraw, side: int, top: Colour, bottom: Colour, until: float = 1.0) -> None:
    height = round(side * until)
    for row in range(0, height, 2):
        part = row / height
        colour = tuple(round(a * (1 - part) + b * part) for a, b in zip(top, bottom, strict=True))
        draw.rectangle((0, row, side, row + 2), fill=colour)


def _hill(draw: ImageDraw.ImageDraw, side: int, y: float, colour: Colour, dice: Dice, swing: float = 0.03) -> None:
    """Everything below a gentle wave around the height `y`."""
    phase, waves = dice.between(0, 6.3), dice.between(0.5, 1.3)
    edge = [(x, side * (y + swing * math.sin(phase + waves * 2 * math.pi * x / side))) for x in range(0, side + 8, 8)]
    draw.polygon([*edge, (side, side), (0, side)], fill=colour)


def _dots(
    draw: ImageDraw.ImageDraw, side: int, count: int, size: tuple[float, float], colour: Colour, dice: Dice, y1: float
) -> None:
    for _ in range(count):
        x, y, r = dice.between(0, side), dice.between(0, side * y1), side * dice.between(*size)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def _cloud(draw: ImageDraw.ImageDraw, side: int, x: float, y: float, size: float, colour: Colour) -> None:
    for dx, dy, r in ((-0.9, 0.1, 0.5), (-0.3, -0.25, 0.65), (0.4, -0.1, 0.6), (0.95, 0.15, 0.42)):
        cx, cy, radius = side * (x + dx * size), side * (y + dy * size), side * r * size
        draw.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=colour)
    draw.rectangle(
        (side * (x - 0.9 * size), side * (y + 0.1 * size), side * (x + 0.95 * size), side * (y + 0.57 * size)),
        fill=colour,
    )


def _disc(draw: ImageDraw.ImageDraw, side: int, x: float, y: float, r: float, colour: Colour) -> None:
    draw.ellipse((side * (x - r), side * (y - r), side * (x + r), side * (y + r)), fill=colour)


def _clouds(draw: ImageDraw.ImageDraw, side: int, dice: Dice, colour: Colour = (255, 255, 255)) -> None:
    for _ in range(dice.whole(1, 3)):
        _cloud(draw, side, dice.between(0.1, 0.9), dice.between(0.07, 0.25), dice.between(0.06, 0.11), colour)


def _night_sky(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sky(draw, side, _mixed(dice, (12, 18, 60), (20, 16, 70), (8, 24, 56)), _mixed(dice, (50, 60, 130), (70, 60, 140)))
    _dots(draw, side, dice.whole(25, 60), (0.002, 0.006), (255, 250, 220), dice, 0.8)
    if dice.chance(0.75):
        x, y = dice.one((dice.between(0.1, 0.25), dice.between(0.75, 0.9))), dice.between(0.12, 0.2)
        _disc(draw, side, x, y, 0.075, (255, 240, 190))
        if dice.chance(0.5):
            _disc(draw, side, x + 0.035, y - 0.015, 0.065, (24, 28, 80))


def _night(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _night_sky(draw, side, dice)
    _hill(draw, side, 0.8, _mixed(dice, (20, 50, 60), (30, 35, 80), (20, 60, 50)), dice)


def _snow(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sky(draw, side, _mixed(dice, (150, 195, 235), (175, 205, 230)), (225, 238, 248))
    _snowy_ground(draw, side, dice)


def _snowy_night(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _night_sky(draw, side, dice)
    _snowy_ground(draw, side, dice)


def _snowy_ground(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _hill(draw, side, 0.66, (212, 228, 245), dice, 0.04)
    for _ in range(dice.whole(0, 4)):
        _fir(draw, side, dice.between(0.03, 0.97), 0.72, dice.between(0.16, 0.3), (60, 110, 100), snowy=True)
    _hill(draw, side, 0.78, (244, 249, 255), dice)
    _dots(draw, side, dice.whole(20, 60), (0.005, 0.011), (255, 255, 255), dice, 1)


def _fir(
    draw: ImageDraw.ImageDraw, side: int, x: float, y: float, h: float, colour: Colour, snowy: bool = False
) -> None:
    draw.rectangle((side * (x - 0.012), side * (y - 0.03), side * (x + 0.012), side * y), fill=(110, 75, 50))
    for step in range(3):
        top, width = y - h + step * h * 0.25, h * (0.2 + 0.08 * step)
        bottom = top + h * 0.42
        draw.polygon(
            [(side * x, side * top), (side * (x - width), side * bottom), (side * (x + width), side * bottom)],
            fill=colour,
        )
        if snowy:
            draw.polygon(
                [
                    (side * x, side * top),
                    (side * (x - width * 0.4), side * (top + h * 0.17)),
                    (side * (x + width * 0.4), side * (top + h * 0.17)),
                ],
                fill=(245, 250, 255),
            )


def _tree(draw: ImageDraw.ImageDraw, side: int, x: float, y: float, h: float, colour: Colour) -> None:
    draw.rectangle((side * (x - 0.015), side * (y - h * 0.5), side * (x + 0.015), side * y), fill=(120, 80, 50))
    _disc(draw, side, x, y - h * 0.65, h * 0.33, colour)


def _sea_sky(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sky(draw, side, _mixed(dice, (90, 180, 240), (110, 195, 245)), (200, 232, 250))
    if dice.chance(0.7):
        _disc(draw, side, dice.between(0.1, 0.9), dice.between(0.1, 0.2), 0.07, (255, 222, 90))
    _clouds(draw, side, dice)


def _beach(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sea_sky(draw, side, dice)
    draw.rectangle((0, side * 0.5, side, side), fill=_mixed(dice, (40, 140, 205), (50, 165, 205)))
    _hill(draw, side, 0.68, (225, 245, 250), dice, 0.025)
    _hill(draw, side, 0.71, _mixed(dice, (245, 220, 160), (238, 208, 150)), dice, 0.025)


def _meadow(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sea_sky(draw, side, dice)
    _hill(draw, side, 0.62, _mixed(dice, (130, 195, 95), (145, 205, 105)), dice, 0.05)
    _hill(draw, side, 0.76, _mixed(dice, (95, 175, 75), (110, 185, 80)), dice)
    if dice.chance(0.5):
        for _ in range(dice.whole(8, 20)):
            x, y = dice.between(0, 1), dice.between(0.83, 0.99)
            _disc(draw, side, x, y, 0.01, dice.one(((255, 255, 255), (255, 220, 80), (250, 140, 170), (235, 90, 90))))


def _forest(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sky(draw, side, _mixed(dice, (150, 215, 215), (170, 220, 190)), (215, 240, 210))
    for depth, colour in enumerate(((110, 170, 120), (70, 140, 90))):
        for place in range(6):
            x, h = place / 5 + dice.between(-0.08, 0.08), dice.between(0.4, 0.62)
            if dice.chance(0.6):
                _fir(draw, side, x, 0.72 + depth * 0.05, h, _mixed(dice, colour))
            else:
                _tree(draw, side, x, 0.72 + depth * 0.05, h, _mixed(dice, colour))
    _hill(draw, side, 0.76, _mixed(dice, (90, 150, 70), (75, 130, 70)), dice)


def _room(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    wall = _mixed(dice, (245, 225, 195), (205, 225, 235), (225, 235, 210), (240, 210, 215), (225, 215, 240))
    draw.rectangle((0, 0, side, side), fill=wall)
    if dice.chance(0.75):
        x = dice.one((0.08, 0.62))
        box = (side * x, side * 0.1, side * (x + 0.3), side * 0.42)
        draw.rectangle(box, fill=(160, 210, 245), outline=(255, 255, 255), width=side // 40)
        draw.line(
            (side * (x + 0.15), side * 0.1, side * (x + 0.15), side * 0.42), fill=(255, 255, 255), width=side // 60
        )
        draw.line((side * x, side * 0.26, side * (x + 0.3), side * 0.26), fill=(255, 255, 255), width=side // 60)
    floor = _mixed(dice, (190, 135, 90), (170, 115, 75), (205, 155, 110))
    draw.rectangle((0, side * 0.72, side, side), fill=floor)
    draw.rectangle((0, side * 0.705, side, side * 0.72), fill=(250, 248, 242))
    darker = tuple(round(part * 0.88) for part in floor)
    for row in range(1, 4):
        draw.line((0, side * (0.72 + 0.07 * row), side, side * (0.72 + 0.07 * row)), fill=darker, width=side // 120)


def _table(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    wall = _mixed(dice, (225, 235, 240), (245, 235, 215), (215, 225, 215), (235, 220, 230))
    draw.rectangle((0, 0, side, side), fill=wall)
    top = _mixed(dice, (195, 140, 90), (165, 110, 70), (215, 170, 120))
    draw.rectangle((0, side * 0.7, side, side), fill=top)
    draw.rectangle((0, side * 0.93, side, side), fill=tuple(round(part * 0.75) for part in top))


def _sea(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sea_sky(draw, side, dice)
    draw.rectangle((0, side * 0.52, side, side), fill=_mixed(dice, (40, 130, 205), (30, 150, 200)))
    for row in range(5):
        y = 0.57 + row * 0.09
        for _ in range(4):
            x = dice.between(-0.05, 1)
            box = (side * x, side * y, side * (x + 0.09), side * (y + 0.03))
            draw.arc(box, 200, 340, fill=(170, 220, 245), width=side // 90)


def _underwater(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sky(draw, side, _mixed(dice, (60, 180, 220), (50, 165, 215)), _mixed(dice, (15, 70, 140), (20, 80, 130)))
    for _ in range(dice.whole(8, 18)):
        x, y, r = dice.between(0, 1), dice.between(0, 0.85), dice.between(0.006, 0.022)
        box = (side * (x - r), side * (y - r), side * (x + r), side * (y + r))
        draw.ellipse(box, outline=(190, 235, 250), width=side // 130)
    _hill(draw, side, 0.88, _mixed(dice, (215, 195, 145), (195, 180, 140)), dice)
    for _ in range(dice.whole(2, 5)):
        x, h = dice.between(0, 1), dice.between(0.12, 0.3)
        points = [(side * (x + 0.015 * math.sin(k)), side * (0.95 - h * k / 8)) for k in range(9)]
        draw.line(points, fill=_mixed(dice, (40, 140, 90), (60, 150, 70)), width=side // 40, joint="curve")


def _space(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sky(draw, side, _mixed(dice, (14, 12, 40), (22, 14, 52)), _mixed(dice, (40, 24, 84), (20, 26, 70)))
    _dots(draw, side, dice.whole(50, 100), (0.0015, 0.005), (255, 255, 255), dice, 1)
    for _ in range(dice.whole(1, 3)):
        x, y = dice.one((dice.between(0.05, 0.2), dice.between(0.8, 0.95))), dice.between(0.08, 0.92)
        colour = _mixed(dice, (235, 140, 90), (120, 190, 220), (220, 200, 140), (190, 130, 210))
        r = dice.between(0.04, 0.1)
        _disc(draw, side, x, y, r, colour)
        if dice.chance(0.4):
            box = (side * (x - 1.7 * r), side * (y - 0.4 * r), side * (x + 1.7 * r), side * (y + 0.4 * r))
            draw.arc(box, -30, 210, fill=(240, 225, 190), width=max(2, side // 90))


def _desert(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sky(draw, side, _mixed(dice, (125, 195, 240), (250, 190, 120)), (253, 232, 190))
    _disc(draw, side, dice.between(0.1, 0.9), dice.between(0.1, 0.2), 0.08, (255, 235, 130))
    _hill(draw, side, 0.62, _mixed(dice, (226, 175, 100), (218, 160, 92)), dice, 0.07)
    _hill(draw, side, 0.76, _mixed(dice, (240, 198, 125), (235, 190, 115)), dice, 0.04)


def _mountains(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sea_sky(draw, side, dice)
    for _ in range(dice.whole(2, 4)):
        x, top, width = dice.between(0, 1), dice.between(0.18, 0.4), dice.between(0.3, 0.45)
        rock = _mixed(dice, (120, 130, 155), (105, 120, 140), (140, 135, 150))
        draw.polygon([(side * x, side * top), (side * (x - width), side * 0.8), (side * (x + width), side * 0.8)], rock)
        cap = 0.28 * (0.8 - top)
        reach = width * 0.28
        draw.polygon(
            [
                (side * x, side * top),
                (side * (x - reach), side * (top + cap)),
                (side * (x - reach * 0.3), side * (top + cap * 0.8)),
                (side * (x + reach * 0.2), side * (top + cap * 1.1)),
                (side * (x + reach), side * (top + cap)),
            ],
            (248, 250, 255),
        )
    _hill(draw, side, 0.75, _mixed(dice, (110, 170, 95), (120, 180, 105)), dice)


def _city(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    dark = dice.chance(0.3)
    _sky(draw, side, (30, 35, 80) if dark else (140, 200, 240), (90, 70, 130) if dark else (225, 238, 248))
    x = -0.02
    while x < 1:
        width, top = dice.between(0.1, 0.2), dice.between(0.2, 0.55)
        wall = _mixed(dice, (70, 75, 110), (85, 80, 120)) if dark else _mixed(dice, (150, 165, 190), (175, 170, 185))
        draw.rectangle((side * x, side * top, side * (x + width), side), fill=wall)
        lit = (255, 225, 130) if dark else (215, 230, 242)
        for row in range(6):
            for column in range(2):
                left, y = x + width * (0.2 + 0.38 * column), top + 0.04 + row * 0.075
                draw.rectangle((side * left, side * y, side * (left + width * 0.2), side * (y + 0.035)), fill=lit)
        x += width + 0.005
    draw.rectangle((0, side * 0.8, side, side), fill=(75, 78, 90) if dark else (120, 124, 134))


def _sunset(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sky(draw, side, _mixed(dice, (110, 70, 140), (80, 70, 150)), _mixed(dice, (255, 160, 90), (255, 175, 110)), 0.75)
    _disc(draw, side, dice.between(0.25, 0.75), 0.66, 0.13, (255, 225, 130))
    _hill(draw, side, 0.74, _mixed(dice, (70, 45, 85), (90, 55, 70), (60, 60, 90)), dice)


def _rain(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sky(draw, side, _mixed(dice, (110, 130, 155), (125, 140, 160)), (185, 200, 212))
    _clouds(draw, side, dice, (215, 222, 230))
    _hill(draw, side, 0.8, _mixed(dice, (95, 125, 110), (110, 120, 130)), dice)
    for _ in range(dice.whole(45, 80)):
        x, y = dice.between(0, side), dice.between(0, side)
        draw.line((x, y, x - side * 0.012, y + side * 0.045), fill=(205, 225, 245), width=side // 150)


def _clouds_above(draw: ImageDraw.ImageDraw, side: int, dice: Dice) -> None:
    _sky(draw, side, _mixed(dice, (80, 165, 240), (105, 185, 245)), (205, 232, 250))
    for _ in range(dice.whole(4, 7)):
        x, y = dice.between(0, 1), dice.one((dice.between(0.08, 0.25), dice.between(0.75, 0.95)))
        _cloud(draw, side, x, y, dice.between(0.07, 0.13), (255, 255, 255))


_PAINTERS = {
    "night": _night,
    "snow": _snow,
    "snowy night": _snowy_night,
    "beach": _beach,
    "meadow": _meadow,
    "forest": _forest,
    "room": _room,
    "table": _table,
    "sea": _sea,
    "underwater": _underwater,
    "space": _space,
    "desert": _desert,
    "mountains": _mountains,
    "city": _city,
    "sunset": _sunset,
    "rain": _rain,
    "sky": _clouds_above,
}
PLACES = {name: Place(_PAINTERS[name], words.phrases, words.floor) for name, words in scene.PLACES.items()}
"""Painted grounds by name."""


def soft_shadow(alpha: Pixels, radius: float) -> Pixels:
    """A blurred copy of an alpha channel (height, width)."""
    return np.array(Image.fromarray(alpha).filter(ImageFilter.GaussianBlur(radius)))
