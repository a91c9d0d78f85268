"""What a picture says about itself: how it was made, so that it can be made again.

Nothing here varies between two equal orders, so the same seed gives the same bytes.
"""

from pinxit.backends.interface import PaintOrder


def describe(order: PaintOrder, seed: int | None) -> dict[str, str]:
    """The metadata of one picture, for `pinxit.images.encoding.encode`, in a fixed order."""
    facts = {
        "Software": "Pinxit",
        "model": order.model,
        "prompt": order.prompt,
        "negative_prompt": order.negative_prompt,
        "style": order.style,
        "seed": None if seed is None else str(seed),
        "num_inference_steps": str(order.num_inference_steps),
        "guidance_scale": None if order.guidance_scale is None else f"{order.guidance_scale:g}",
        "size": str(order.size),
        "strength": None if order.strength is None else f"{order.strength:g}",
    }
    return {name: value for name, value in facts.items() if value is not None}
