"""AUTOMATIC1111's stable-diffusion-webui, started with `--api`; Forge and SD.Next serve the same routes.

Special: a program of the operator's own, so `base_url` is its address (`http://127.0.0.1:7860`) and there are no
prices; `credential`, if `--api-auth` is on, is `user:password`. A model's id is its checkpoint's name, which is loaded
when it is asked for. Any size, step and guidance scale is painted, so what a model offers is the operator's to say.
A picture a request, since each has a seed of its own. `options.sampler_name` and `options.scheduler` are for all
orders; `options.extra` is sent along with each of them.
"""

from collections.abc import Mapping
from typing import Any

import pybase64

from pinxit.backends.interface import PaintOrder
from pinxit.backends.upstream._provider import (
    Access,
    Answer,
    Call,
    Done,
    Picture,
    Provider,
    Step,
    UpstreamModel,
    error_of_status,
    seed_field,
)
from pinxit.errors import BackendUnavailable, ConfigurationError, InvalidValue, PinxitError


class A1111(Provider):
    """`txt2img`, and `img2img` where there is a picture to begin from."""

    name = "a1111"
    title = "AUTOMATIC1111"
    documentation = (
        "https://github.com/AUTOMATIC1111/stable-diffusion-webui, modules/api/api.py, models.py (2026-11-22)",
    )
    base64_keys = ("images",)
    option_names = frozenset({"sampler_name", "scheduler", "extra"})

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        extra = access.options.get("extra", {})
        if not isinstance(extra, Mapping):
            raise ConfigurationError("options.extra is a mapping.")
        self._always = {name: access.options[name] for name in ("sampler_name", "scheduler") if name in access.options}
        self._always |= extra

    def authorise(self) -> Mapping[str, str]:
        if not self.access.credential:
            return {}
        return {"authorization": f"Basic {pybase64.b64encode(self.access.credential.encode()).decode()}"}

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        can = model.spec.capabilities
        body: dict[str, Any] = {
            "prompt": order.prompt,
            "width": order.size.width,
            "height": order.size.height,
            "batch_size": 1,
            "n_iter": len(order.seeds),
            "send_images": True,
            "save_images": False,
            "override_settings": {"sd_model_checkpoint": order.model},
            "override_settings_restore_afterwards": False,
            **seed_field("seed", order, model),
        }
        if can.num_inference_steps is not None:
            body["steps"] = order.num_inference_steps
        if can.guidance_scale is not None:
            body["cfg_scale"] = order.guidance_scale
        if order.negative_prompt:
            body["negative_prompt"] = order.negative_prompt
        body |= self._always
        if not order.asked.images:
            return Call("POST", "/sdapi/v1/txt2img", json=body)
        body["init_images"] = [pybase64.b64encode(picture.data).decode() for picture in order.asked.images]
        if order.asked.strength is not None:
            body["denoising_strength"] = order.asked.strength
        return Call("POST", "/sdapi/v1/img2img", json=body)

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        """Behind the pictures that were asked for there may be others: a grid of them, what an extension has drawn."""
        return Done([Picture(base64=text) for text in answer.json["images"][: len(order.seeds)]])

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        """`{"error", "detail", "body", "errors"}`; what is wrong with the program's own state is a 404 there."""
        said = _detail(answer)
        if answer.status == 404 and ("Not Found" in said or "Model not found" in said):
            return BackendUnavailable(f"{self.title} has no such model, or was not started with --api.")
        found = error_of_status(self.title, answer)
        if isinstance(found, InvalidValue) and said:
            return InvalidValue(f"{self.title} does not accept this order: {said}")
        return found


def _detail(answer: Answer) -> str:
    """What is under `detail`, where that is a text."""
    try:
        found = answer.json["detail"]
    except (PinxitError, KeyError, TypeError, IndexError):
        return ""
    return found[:400] if isinstance(found, str) else ""
