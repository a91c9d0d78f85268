"""An order as it is kept, complete enough to be painted again from its row alone."""

from typing import Any

from pinxit.backends.interface import PaintOrder
from pinxit.catalog.catalog import Catalog
from pinxit.catalog.entry import CheckedOrder
from pinxit.errors import BackendUnavailable, ModelNotFound
from pinxit.generations.generation import Generation
from pinxit.images.request import Delivery, Encoding, ImageRequest
from pinxit.images.size import Size


def parameters_of(order: CheckedOrder, *, url_ttl_seconds: float | None) -> dict[str, Any]:
    """What a row says of how its order is painted. `url_ttl_seconds`: how long its pictures' URLs will open them."""
    request, paint = order.request, order.paint
    if request.images:
        edit = {
            "input_sha256": [picture.sha256 for picture in request.images],
            "mask_sha256": request.mask and request.mask.sha256,
            "strength": order.strength,
        }
    else:
        edit = {}
    return edit | {
        "backend": order.entry.painter,
        "n": request.n,
        "size": str(paint.size),
        "quality": order.quality,
        "background": "transparent" if paint.transparent else "opaque",
        "output_format": request.encoding.value,
        "output_compression": request.compression,
        "delivery": request.delivery.value,
        "moderation": request.moderation,
        "style": paint.style,
        "seeds": list(paint.seeds),
        "num_inference_steps": paint.num_inference_steps,
        "guidance_scale": paint.guidance_scale,
        "negative_prompt": paint.negative_prompt,
        "price_micros_per_image": order.price_micros_per_image,
        "store": request.store,
        "end_user": request.end_user,
        "url_ttl_seconds": url_ttl_seconds,
    }


def restore(generation: Generation, catalog: Catalog) -> CheckedOrder:
    """The order of a row, to be painted again: the same seeds and the price of that time.

    Raises BackendUnavailable if its model is not there any more, or it was kept by a version that kept less.
    """
    kept = generation.parameters
    if "input_sha256" in kept:
        raise BackendUnavailable(
            "The pictures that this order began from were not kept. Nothing was charged; ask again."
        )
    try:
        kept["url_ttl_seconds"]  # without it nobody knows how long a URL may open the pictures
        entry = catalog.restore(generation.model).at(kept.get("backend", ""))
        size, seeds = Size.parse(kept["size"]), tuple(kept["seeds"])
        request = ImageRequest(
            model=generation.requested_model,
            prompt=generation.prompt,
            n=len(seeds),
            delivery=Delivery(kept["delivery"]),
            encoding=Encoding(kept["output_format"]),
            compression=kept["output_compression"],
            store=kept["store"],
        )
        paint = PaintOrder(
            model=entry.spec.id,
            prompt=generation.prompt,
            size=size,
            seeds=seeds,
            num_inference_steps=kept["num_inference_steps"],
            guidance_scale=kept["guidance_scale"],
            negative_prompt=kept["negative_prompt"],
            style=kept["style"],
            transparent=kept["background"] == "transparent",
        )
        return CheckedOrder(entry, request, paint, kept["quality"], kept["price_micros_per_image"])
    except ModelNotFound as error:
        raise BackendUnavailable(f"The model {generation.model!r} is not there any more.") from error
    except (KeyError, ValueError) as error:
        raise BackendUnavailable("This order was kept by an earlier version, which cannot be painted again.") from error
