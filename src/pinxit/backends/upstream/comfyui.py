"""A ComfyUI server of the operator's own. https://github.com/Comfy-Org/ComfyUI

What a model is, a workflow says: a graph of nodes in the API's format (in ComfyUI: Export (API)) in which values are
left open as `{{prompt}}`, `{{negative_prompt}}`, `{{seed}}`, `{{width}}`, `{{height}}`, `{{steps}}`,
`{{guidance_scale}}`, `{{strength}}` and, for edits, `{{image}}`, the name of the uploaded picture:

    providers:
      comfyui:
        base_url: http://127.0.0.1:8188
        models: [{id: portrait, sizes: [832x1216], seed: true}]
        options:
          workflows: {portrait: /etc/pinxit/portrait.json}
          edit_workflows: {portrait: /etc/pinxit/portrait-edit.json}

A workflow may be written out there in place of its path. A model without one is a checkpoint of that name, painted and
edited by the plain workflow below. There is no credential; one that is given goes in the Authorization header, for a
proxy before the server. Pictures hold their workflow as texts, which are taken out.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pinxit.backends.interface import PaintOrder
from pinxit.backends.upstream._provider import (
    Access,
    Again,
    Answer,
    Call,
    Done,
    Part,
    Pending,
    Picture,
    Proceed,
    Provider,
    Step,
    UpstreamModel,
    error_of_status,
    file_part,
)
from pinxit.errors import BackendError, ConfigurationError, InvalidValue, PinxitError

Graph = Mapping[str, Any]

PLAIN: Graph = {
    "checkpoint": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "{{model}}"}},
    "prompt": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{prompt}}", "clip": ["checkpoint", 1]}},
    "negative": {"class_type": "CLIPTextEncode", "inputs": {"text": "{{negative_prompt}}", "clip": ["checkpoint", 1]}},
    "latent": {
        "class_type": "EmptyLatentImage",
        "inputs": {"width": "{{width}}", "height": "{{height}}", "batch_size": 1},
    },
    "sampler": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["checkpoint", 0],
            "positive": ["prompt", 0],
            "negative": ["negative", 0],
            "latent_image": ["latent", 0],
            "seed": "{{seed}}",
            "steps": "{{steps}}",
            "cfg": "{{guidance_scale}}",
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": "{{strength}}",
        },
    },
    "pixels": {"class_type": "VAEDecode", "inputs": {"samples": ["sampler", 0], "vae": ["checkpoint", 2]}},
    "save": {"class_type": "SaveImage", "inputs": {"images": ["pixels", 0], "filename_prefix": "pinxit"}},
}
"""The default workflow for a checkpoint."""
PLAIN_EDIT: Graph = {
    **PLAIN,
    "image": {"class_type": "LoadImage", "inputs": {"image": "{{image}}"}},
    "latent": {"class_type": "VAEEncode", "inputs": {"pixels": ["image", 0], "vae": ["checkpoint", 2]}},
}
NAMES = frozenset(
    {"model", "prompt", "negative_prompt", "seed", "width", "height", "steps", "guidance_scale", "strength", "image"}
)
USUAL_STEPS, USUAL_GUIDANCE, USUAL_STRENGTH = 20, 7.0, 0.75
MAX_WORKFLOW_BYTES = 4 * 1024 * 1024
_OPEN = re.compile(r"\{\{([a-z_]+)\}\}")


class ComfyUI(Provider):
    """One picture per run, as a batch has one seed; a waiting run is taken out of the queue when nobody wants it."""

    name = "comfyui"
    title = "ComfyUI"
    documentation = (
        "https://github.com/Comfy-Org/ComfyUI server.py (2026-11-22)",
        "https://github.com/Comfy-Org/ComfyUI execution.py (2026-11-22)",
        "https://github.com/Comfy-Org/ComfyUI script_examples/basic_api_example.py (2026-11-22)",
    )
    base_url = "http://127.0.0.1:8188"
    has_jobs = True
    option_names = frozenset({"workflows", "edit_workflows"})

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._workflows = _read_workflows("workflows", access.options)
        self._edit_workflows = _read_workflows("edit_workflows", access.options)

    def offer(self, models: Sequence[UpstreamModel]) -> None:
        """Raises ConfigurationError for a workflow of a model that there is not."""
        super().offer(models)
        ids = {model.spec.id for model in models}
        for id_ in (*self._workflows, *self._edit_workflows):
            if id_ not in ids:
                raise ConfigurationError(f"options: there is a workflow for {id_!r}, but no such model.")

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        if not order.asked.images:
            graph = self._workflows.get(order.model, PLAIN)
            return Call("POST", "/prompt", json={"prompt": _filled(graph, self._values(order))})
        upload = file_part("image", order.asked.images[0].data)
        return Call("POST", "/upload/image", form=(upload, Part("type", "input"), Part("overwrite", "false")))

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        if answer.media_type.startswith("image/"):
            return Done([Picture(data=without_texts(answer.body))])
        document = answer.json
        if "prompt_id" in document:
            return self._queued(document["prompt_id"])
        if "name" in document and "type" in document:
            graph = self._edit_workflows.get(order.model, PLAIN_EDIT)
            name = "/".join(part for part in (document.get("subfolder"), document["name"]) if part)
            return Proceed(
                Call("POST", "/prompt", json={"prompt": _filled(graph, {**self._values(order), "image": name})})
            )
        if not document:
            return Pending()
        [(run_id, run)] = document.items()
        return self._done(run_id, run)

    def _values(self, order: PaintOrder) -> dict[str, Any]:
        """What the order says for each name that a workflow may leave open, but for the picture."""
        has_steps = any(
            model.spec.id == order.model and model.spec.capabilities.num_inference_steps is not None
            for model in self.list_models()
        )
        strength = order.asked.strength
        if strength is None:
            strength = USUAL_STRENGTH if order.asked.images else 1.0
        return {
            "model": order.model,
            "prompt": order.prompt,
            "negative_prompt": order.negative_prompt or "",
            "seed": order.seeds[0],
            "width": order.size.width,
            "height": order.size.height,
            "steps": order.num_inference_steps if has_steps else USUAL_STEPS,
            "guidance_scale": USUAL_GUIDANCE if order.guidance_scale is None else order.guidance_scale,
            "strength": strength,
        }

    def _queued(self, run_id: str) -> Step:
        remove = Call("POST", "/queue", json={"delete": [run_id]})
        return Again(Call("GET", f"/history/{run_id}"), run_id, 0.5, cancel=remove)

    def _done(self, run_id: str, run: Mapping[str, Any]) -> Step:
        """Once the run is over, its picture is asked for as the rest is, with the credential if there is one."""
        if run["status"]["status_str"] != "success":
            raise BackendError(f"The run failed at {self.title}{_reason(run['status'])}.")
        images = [image for node in run["outputs"].values() for image in node.get("images", ())]
        saved = [image for image in images if image["type"] == "output"] or images
        if not saved:
            raise BackendError(f"The workflow at {self.title} has saved no picture.")
        query = urlencode({name: saved[-1][name] for name in ("filename", "subfolder", "type")})
        return Again(Call("GET", f"/view?{query}"), run_id, 0)

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        """400: `{"error": {"type", "message", "details"}, "node_errors"}`; nothing is queued then."""
        if answer.status != 400:
            return error_of_status(self.title, answer)
        return InvalidValue(f"{self.title} does not accept this order: {_details(answer)}")


def _read_workflows(option: str, options: Mapping[str, Any]) -> dict[str, Graph]:
    """Model → graph. Raises ConfigurationError."""
    found = options.get(option, {})
    if not isinstance(found, Mapping):
        raise ConfigurationError(f"options: {option} is a mapping of models to workflows.")
    return {id_: _checked(f"{option}.{id_}", _graph(f"{option}.{id_}", value)) for id_, value in found.items()}


def _graph(place: str, value: Any) -> Any:
    """The graph that is written there, or in the file that is named there. Raises ConfigurationError."""
    if not isinstance(value, str):
        return value
    try:
        with Path(value).expanduser().open("rb") as file:
            return json.loads(file.read(MAX_WORKFLOW_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"options: {place} cannot be read ({type(error).__name__}).") from error


def _checked(place: str, graph: Any) -> Graph:
    """Raises ConfigurationError unless this is a graph in the API's format with what it needs left open."""
    if not isinstance(graph, Mapping) or not graph:
        raise ConfigurationError(f"options: {place} is not a workflow.")
    if not all(isinstance(node, Mapping) and "class_type" in node for node in graph.values()):
        raise ConfigurationError(f"options: {place} is not in the API's format: export it with Export (API).")
    names = {name for text in _texts(graph) for name in _OPEN.findall(text)}
    if unknown := sorted(names - NAMES):
        raise ConfigurationError(f"options: {place} leaves {{{{{unknown[0]}}}}} open, which is not known.")
    wanted = {"prompt", "image"} if place.startswith("edit_") else {"prompt"}
    if missing := sorted(wanted - names):
        raise ConfigurationError(f"options: {place} must leave {{{{{missing[0]}}}}} open.")
    return graph


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """The graph with what it leaves open. What is open alone in a text keeps its type: a seed is a number."""
    if isinstance(value, str):
        if (whole := _OPEN.fullmatch(value)) is not None:
            return values[whole[1]]
        return _OPEN.sub(lambda found: str(values[found[1]]), value)
    if isinstance(value, Mapping):
        return {name: _filled(inner, values) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in value]
    return value


def _reason(status: Mapping[str, Any]) -> str:
    for event, told in status.get("messages") or ():
        if event == "execution_error":
            return f": {told.get('exception_type')} in {told.get('node_type')}"
        if event == "execution_interrupted":
            return ": it was interrupted"
    return ""


def _details(answer: Answer) -> str:
    try:
        error = answer.json["error"]
        return f"{error['message']} {error.get('details') or ''}".strip()[:400]
    except (PinxitError, KeyError, TypeError):
        return answer.message()


def without_texts(png: bytes) -> bytes:
    """A PNG without its text chunks (https://www.w3.org/TR/png-3/#11textinfo); any other file as it is."""
    if not png.startswith(b"\x89PNG\r\n\x1a\n"):
        return png
    kept, position = [png[:8]], 8
    while position + 12 <= len(png):
        end = position + 12 + int.from_bytes(png[position : position + 4])
        if png[position + 4 : position + 8] not in (b"tEXt", b"zTXt", b"iTXt"):
            kept.append(png[position:end])
        position = end
    return b"".join(kept)
