"""An order as it is kept, complete enough to be painted again from its row alone; and its jobs far away."""

from collections.abc import Mapping, Sequence
from typing import Any

from pinxit.backends.interface import Asked, Job, PaintOrder
from pinxit.catalog.catalog import Catalog
from pinxit.catalog.entry import CheckedOrder
from pinxit.errors import BackendUnavailable, ModelNotFound
from pinxit.generations.access import credential_of
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
        **credential_of(order),
    }


def jobs_document(order: CheckedOrder, places: Sequence[int], jobs: Sequence[Job]) -> dict[str, Any]:
    """What the row of a try says of its jobs, and of who paints them if that is not who was to. `places`: of the try's
    pictures in the order.
    """
    return {
        "model": order.entry.id,
        "offer": _offer(order),
        "jobs": [
            {"places": [places[index] for index in job.indices], "id": job.upstream_id, "state": job.state}
            for job in jobs
        ],
    }


def _offer(order: CheckedOrder) -> dict[str, Any]:
    """What another painter of the order may have been asked for otherwise, by the names of `parameters_of`."""
    return {
        "backend": order.entry.painter,
        "size": str(order.paint.size),
        "quality": order.quality,
        "style": order.paint.style,
        "num_inference_steps": order.paint.num_inference_steps,
        "guidance_scale": order.paint.guidance_scale,
        "negative_prompt": order.paint.negative_prompt,
        "price_micros_per_image": order.price_micros_per_image,
        "credential": credential_of(order).get("credential"),
    }


def was_own(generation: Generation, jobs: Mapping[str, Any] | None = None) -> bool:
    """Whether the order was sent, or was to be, with a credential of its account."""
    kept = generation.parameters | (jobs["offer"] if jobs else {})
    return kept.get("credential") == "own"


def places_of(document: Mapping[str, Any]) -> tuple[int, ...]:
    """The order's pictures that come of the jobs."""
    return tuple(sorted(place for job in document["jobs"] for place in job["places"]))


def jobs_of(document: Mapping[str, Any] | None, places: Sequence[int]) -> tuple[Job, ...]:
    """The jobs for a try that paints these places."""
    if document is None:
        return ()
    return tuple(
        Job(tuple(places.index(place) for place in job["places"]), job["id"], job["state"]) for job in document["jobs"]
    )


def restore(generation: Generation, catalog: Catalog, jobs: Mapping[str, Any] | None = None) -> CheckedOrder:
    """The order of a row, to be painted again: the same seeds and the price of that time. `jobs`: what is under way for
    it; then it is as who paints them was asked.

    Raises BackendUnavailable if its model is not there any more, or it was kept by a version that kept less.
    """
    kept = generation.parameters | (jobs["offer"] if jobs else {})
    if "input_sha256" in kept and jobs is None:
        raise BackendUnavailable(
            "The pictures that this order began from were not kept. Nothing was charged; ask again."
        )
    try:
        kept["url_ttl_seconds"]  # without it nobody knows how long a URL may open the pictures
        model = jobs["model"] if jobs else generation.model
        entry = catalog.restore(model).at(kept.get("backend", ""))
        if jobs and entry.painter != kept["backend"]:
            raise BackendUnavailable(f"{kept['backend']} is not there any more.")
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
            asked=Asked(
                quality=kept["quality"],
                background="transparent" if kept["background"] == "transparent" else "auto",
                moderation=kept.get("moderation", "auto"),
                encoding=request.encoding,
                compression=request.compression,
                end_user=kept.get("end_user"),
            ),
        )
        return CheckedOrder(entry, request, paint, kept["quality"], kept["price_micros_per_image"])
    except ModelNotFound as error:
        raise BackendUnavailable(f"The model {generation.model!r} is not there any more.") from error
    except (KeyError, ValueError) as error:
        raise BackendUnavailable("This order was kept by an earlier version, which cannot be painted again.") from error
