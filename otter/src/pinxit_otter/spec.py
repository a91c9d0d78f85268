"""What otter-1 is and can do. No heavy import: the API process reads this."""

from types import MappingProxyType

from pinxit.backends.interface import Capabilities, ModelSpec, Range
from pinxit.images.size import Size

NATIVE_SIDE = 256
"""Width and height of what the decoder paints, in pixels."""

LATENT_TOKENS = 64
"""A picture in the model's own tokens: 8×8 positions."""

STYLE_WORDS = MappingProxyType(
    {
        "noto": ", noto style",
        "twemoji": ", twemoji style",
        "flat": ", flat style",
        "3d": ", 3d style",
        "glossy": ", glossy style",
    }
)
"""`style` → the words the captions of the training pictures ended in."""

DEFAULT_STYLE = "3d"
"""Of a picture from noise if neither its order nor its prompt names one: asked for no manner of drawing, the model
paints something between all that it knows.
"""

KNOWN_FROM = 0.6
"""The least cosine to a known name at which words count as known; how it was chosen is in MODEL_CARD.md."""

_SIZES = (
    Size(256, 256),
    Size(512, 512),
    Size(1024, 1024),
    Size(1536, 1024),
    Size(1024, 1536),
    Size(1792, 1024),
    Size(1024, 1792),
    Size(1024, 768),
    Size(768, 1024),
    Size(1536, 864),
    Size(864, 1536),
)

OTTER_1 = ModelSpec(
    id="otter-1",
    description="Pictures in the manner of emoji, painted on the CPU at 256 pixels, on transparent ground if asked.",
    capabilities=Capabilities(
        sizes=_SIZES,
        default_size=Size(512, 512),
        native_size=Size(NATIVE_SIDE, NATIVE_SIDE),
        aspect_ratios=MappingProxyType(
            {
                "1:1": Size(1024, 1024),
                "3:2": Size(1536, 1024),
                "2:3": Size(1024, 1536),
                "4:3": Size(1024, 768),
                "3:4": Size(768, 1024),
                "16:9": Size(1536, 864),
                "9:16": Size(864, 1536),
            }
        ),
        max_n=10,
        qualities=MappingProxyType(
            {"low": 4, "medium": 8, "standard": 8, "high": 16, "hd": 16, "xhigh": 24, "max": 32}
        ),
        num_inference_steps=Range(1, 50, 8),
        guidance_scale=Range(1, 10, 3),
        seed=True,
        negative_prompt=True,
        styles=tuple(STYLE_WORDS),
        transparent=True,
        streaming=True,
        edits=True,
        mask=True,
        max_images=1,
        strength=Range(0.05, 1.0, 0.8),
    ),
    owned_by="pinxit",
    licence="Apache-2.0 (weights; training pictures: see MODEL_CARD.md)",
    created=1795428523,
)
