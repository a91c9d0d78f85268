"""The picture sets otter-1 learns from: openly licensed, coloured, drawn as vectors but for one.

Every set is an npm package of a fixed version. A set is taken only if its licence is MIT, Apache-2.0, CC0, CC-BY or
OFL; `originals.collect` compares the licence named here with the one in the package. Left out on purpose: openmoji and
emojione-v1 (share-alike), everything with brand logos or flags alone, and all art by Apple and Facebook.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PictureSet:
    """One set of pictures in one manner of drawing."""

    style: str
    """Its short name, unique."""
    package: str
    version: str
    title: str
    author: str
    licence: str
    """As SPDX spells it."""
    url: str
    style_words: tuple[str, ...]
    """How a caption names the manner of drawing; the first is the one the API's `style` stands for."""
    emoji: bool = True
    """Whether its names are those of Unicode's emoji; otherwise a picture's own name is all that is known of it."""


_NOTO = "https://github.com/googlefonts/noto-emoji"
_FLUENT = "https://github.com/microsoft/fluentui-emoji"
_STREAMLINE = "https://github.com/webalys-hq/streamline-vectors"

SETS: tuple[PictureSet, ...] = (
    PictureSet(
        "noto",
        "@iconify-json/noto",
        "1.2.9",
        "Noto Emoji",
        "Google Inc",
        "Apache-2.0",
        _NOTO,
        ("noto style", "noto emoji"),
    ),
    PictureSet(
        "blob",
        "@iconify-json/noto-v1",
        "1.2.5",
        "Noto Emoji (version 1)",
        "Google Inc",
        "Apache-2.0",
        _NOTO,
        ("blob style", "blob emoji"),
    ),
    PictureSet(
        "glossy",
        "@iconify-json/fluent-emoji",
        "1.2.7",
        "Fluent Emoji",
        "Microsoft Corporation",
        "MIT",
        _FLUENT,
        ("glossy style", "fluent style", "smooth gradient style"),
    ),
    PictureSet(
        "flat",
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "Fluent Emoji Flat",
        "Microsoft Corporation",
        "MIT",
        _FLUENT,
        ("flat style", "flat illustration", "flat design"),
    ),
    PictureSet(
        "3d",
        "@lobehub/fluent-emoji-3d",
        "1.1.0",
        "Fluent Emoji 3D",
        "Microsoft Corporation, packaged by LobeHub",
        "MIT",
        "https://github.com/lobehub/fluent-emoji",
        ("3d style", "3d render", "3d icon"),
    ),
    PictureSet(
        "twemoji",
        "@iconify-json/twemoji",
        "1.2.5",
        "Twitter Emoji",
        "Twitter",
        "CC-BY-4.0",
        "https://github.com/jdecked/twemoji",
        ("twemoji style", "twemoji"),
    ),
    PictureSet(
        "emojione",
        "@iconify-json/emojione",
        "1.2.3",
        "Emoji One (Colored)",
        "Emoji One",
        "CC-BY-4.0",
        "https://github.com/EmojiTwo/emojitwo",
        ("emojione style", "classic emoji style"),
    ),
    PictureSet(
        "fx",
        "@iconify-json/fxemoji",
        "1.2.2",
        "Firefox OS Emoji",
        "Mozilla",
        "Apache-2.0",
        "https://github.com/mozilla/fxemoji",
        ("fx style", "fx emoji"),
    ),
    PictureSet(
        "outlined",
        "@iconify-json/streamline-emojis",
        "1.2.4",
        "Streamline Emojis",
        "Streamline",
        "CC-BY-4.0",
        _STREAMLINE,
        ("outlined style", "with dark outlines", "line and colour style"),
    ),
    PictureSet(
        "simple",
        "@iconify-json/flat-color-icons",
        "1.2.3",
        "Flat Color Icons",
        "Icons8",
        "MIT",
        "https://github.com/icons8/flat-Color-icons",
        ("simple icon style", "flat colour icon"),
        emoji=False,
    ),
    PictureSet(
        "badge",
        "@iconify-json/streamline-kameleon-color",
        "1.2.2",
        "Streamline Kameleon Color",
        "Streamline",
        "CC-BY-4.0",
        _STREAMLINE,
        ("round badge style", "in a round badge"),
        emoji=False,
    ),
    PictureSet(
        "sticky",
        "@iconify-json/streamline-stickies-color",
        "1.2.2",
        "Streamline Stickies Color",
        "Streamline",
        "CC-BY-4.0",
        _STREAMLINE,
        ("sticky style", "sticky note style"),
        emoji=False,
    ),
    PictureSet(
        "sketch",
        "@iconify-json/streamline-freehand-color",
        "1.2.2",
        "Freehand color icons",
        "Streamline",
        "CC-BY-4.0",
        _STREAMLINE,
        ("sketch style", "hand drawn", "doodle style"),
        emoji=False,
    ),
    PictureSet(
        "duotone",
        "@iconify-json/streamline-ultimate-color",
        "1.2.2",
        "Ultimate color icons",
        "Streamline",
        "CC-BY-4.0",
        _STREAMLINE,
        ("duotone style", "thin line icon"),
        emoji=False,
    ),
    PictureSet(
        "flatui",
        "@iconify-json/flat-ui",
        "1.2.3",
        "Flat UI Icons",
        "Designmodo, Inc.",
        "MIT",
        "https://github.com/designmodo/Flat-UI",
        ("flat ui style", "flat ui icon"),
        emoji=False,
    ),
    PictureSet(
        "weather",
        "@iconify-json/meteocons",
        "1.2.4",
        "Meteocons",
        "Bas Milius",
        "MIT",
        "https://github.com/basmilius/weather-icons",
        ("weather icon style", "weather icon"),
        emoji=False,
    ),
)

BY_STYLE = {one.style: one for one in SETS}

PERMISSIVE = frozenset({"MIT", "Apache-2.0", "CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "OFL-1.1"})

WORD_PACKAGES = (("emojibase-data", "17.0.0"), ("emojilib", "4.0.3"))
"""Labels and keywords, from Unicode's CLDR and from emojilib; both MIT."""
