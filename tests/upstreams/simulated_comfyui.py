"""A ComfyUI server, simulated from its public source (`server.py`, `execution.py`, `nodes.py`).

There is no credential: whoever reaches the server may use it. A graph of nodes is put in the queue with `POST /prompt`,
under a `prompt_id` of the caller's own if one is given; `/history/{prompt_id}` is an empty object until it is done, and
then tells the pictures by node, which `/view` gives out. What is wrong with the graph is a 400 with `error` and
`node_errors`; what goes wrong on the way shows in the history's `status`.

The nodes known here are those of the default workflow for a checkpoint, with `LoadImage` and `VAEEncode` for pictures
that go in (uploaded with `POST /upload/image`); lists of samplers and schedulers hold the common ones. ComfyUI ignores
inputs that a node does not have, and so does this. A failed run leaves the queue as a run that was done. Not simulated:
the web socket, previews, masks, custom nodes, the cache of repeated graphs.

Run against it by hand: nothing; ComfyUI has no official client, its web page uses these routes.
"""

import io
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web
from checking import Accepts, Wrong, problems, read_form
from PIL import Image
from simulated import Outcome, Simulated, picture

from pinxit.backends.interface import Capabilities, ModelSpec, Range
from pinxit.backends.upstream._provider import UpstreamModel
from pinxit.images.request import Encoding
from pinxit.images.size import Size

CHECKPOINTS = ("sd_xl_base_1.0.safetensors", "v1-5-pruned-emaonly-fp16.safetensors")
SAMPLERS = ("euler", "euler_ancestral", "heun", "dpm_2", "lms", "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_3m_sde", "ddim")
SCHEDULERS = ("simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal", "linear_quadratic")
LINK = Accepts((list,), required=True)
SIDE = Accepts((int,), minimum=16, maximum=16384, required=True)
NODES: Mapping[str, Mapping[str, Accepts]] = {
    "CheckpointLoaderSimple": {"ckpt_name": Accepts(choices=CHECKPOINTS, required=True)},
    "CLIPTextEncode": {"text": Accepts((str, list), required=True), "clip": LINK},
    "EmptyLatentImage": {
        "width": SIDE,
        "height": SIDE,
        "batch_size": Accepts((int,), minimum=1, maximum=4096, required=True),
    },
    "KSampler": {
        "model": LINK,
        "seed": Accepts((int,), minimum=0, maximum=2**64 - 1, required=True),
        "steps": Accepts((int,), minimum=1, maximum=10000, required=True),
        "cfg": Accepts((float,), minimum=0, maximum=100, required=True),
        "sampler_name": Accepts(choices=SAMPLERS, required=True),
        "scheduler": Accepts(choices=SCHEDULERS, required=True),
        "positive": LINK,
        "negative": LINK,
        "latent_image": LINK,
        "denoise": Accepts((float,), minimum=0, maximum=1, required=True),
    },
    "VAEDecode": {"samples": LINK, "vae": LINK},
    "VAEEncode": {"pixels": LINK, "vae": LINK},
    "LoadImage": {"image": Accepts(required=True)},
    "SaveImage": {"images": LINK, "filename_prefix": Accepts(required=True)},
}
WORDS = {
    Wrong.MISSING: ("required_input_missing", "Required input is missing"),
    Wrong.TYPE: ("invalid_input_type", "Failed to convert an input value to a value of the right type"),
    Wrong.CHOICE: ("value_not_in_list", "Value not in list"),
    Wrong.SMALL: ("value_smaller_than_min", "Value smaller than min"),
    Wrong.LARGE: ("value_bigger_than_max", "Value bigger than max"),
}


@dataclass(slots=True)
class Run:
    """One graph in the queue."""

    number: float
    graph: dict[str, Any]
    extra: dict[str, Any]
    outcome: Outcome
    polls: int = 0
    outputs: dict[str, Any] = field(default_factory=dict)
    done: bool = False


class SimulatedComfyui(Simulated):
    """http://127.0.0.1:8188 by default"""

    name = "comfyui"
    documentation = (
        "https://github.com/Comfy-Org/ComfyUI server.py (2026-11-22)",
        "https://github.com/Comfy-Org/ComfyUI execution.py (2026-11-22)",
        "https://github.com/Comfy-Org/ComfyUI script_examples/basic_api_example.py (2026-11-22)",
    )
    models = CHECKPOINTS
    edits = CHECKPOINTS
    impossible: ClassVar = {
        Outcome.REFUSE: "there is no moderation",
        Outcome.RATE_LIMIT: "the queue has no end",
        Outcome.NO_CREDIT: "it is one's own",
    }

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, Run] = {}
        self._files: dict[tuple[str, str, str], bytes] = {}
        """By type (`output`, `input`), folder and name."""

    def configured_models(self) -> Sequence[Any]:
        """Its checkpoints, as an operator would describe them."""
        sides = Size(1024, 1024), Size(832, 1216)
        can = Capabilities(
            sizes=sides,
            default_size=sides[0],
            native_size=sides[0],
            num_inference_steps=Range(1, 100, 20),
            guidance_scale=Range(0, 30, 7),
            negative_prompt=True,
            encodings=(Encoding.PNG,),
            edits=True,
            max_images=1,
            strength=Range(0, 1, 0.75),
        )
        return [
            UpstreamModel(ModelSpec(name, f"The checkpoint {name}.", can, "local", "unknown", 0))
            for name in CHECKPOINTS
        ]

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.post("/prompt", self._prompt),
            web.get("/history/{id}", self._history),
            web.get("/view", self._view),
            web.post("/upload/image", self._upload),
            web.get("/queue", self._queue),
            web.post("/queue", self._change_queue),
            web.post("/interrupt", self._interrupt),
        ]

    async def _prompt(self, request: web.Request) -> web.Response:
        if self.outcome is Outcome.OUTAGE:
            text = "500 Internal Server Error\n\nServer got itself in trouble"
            return web.Response(status=500, text=text)
        body = self.calls[-1].json
        if not isinstance(body, dict) or "prompt" not in body:
            return _invalid(_reason("no_prompt", "No prompt provided", "No prompt provided"))
        graph = body["prompt"]
        if (wrong := self._wrong(graph)) is not None:
            return wrong
        key = str(body.get("prompt_id", uuid.uuid4()))
        number = float(body.get("number", len(self._runs)))
        self._runs[key] = Run(number, graph, body.get("extra_data", {}), self.outcome)
        return web.json_response({"prompt_id": key, "number": number, "node_errors": {}})

    def _wrong(self, graph: Mapping[str, Any]) -> web.Response | None:
        for key, node in graph.items():
            at = f"Node ID '#{key}'"
            if "class_type" not in node:
                text = "Cannot execute because a node is missing the class_type property."
                return _invalid(_reason("invalid_prompt", text, at))
            if node["class_type"] not in NODES:
                text = f"Cannot execute because node {node['class_type']} does not exist."
                return _invalid(_reason("invalid_prompt", text, at))
        saving = [key for key, node in graph.items() if node["class_type"] == "SaveImage"]
        if not saving:
            return _invalid(_reason("prompt_no_outputs", "Prompt has no outputs", ""))
        errors = {key: found for key, node in graph.items() if (found := self._node_errors(graph, node))}
        if self.outcome is Outcome.BAD_REQUEST and not errors:
            errors = {saving[0]: [_reason("required_input_missing", "Required input is missing", "images")]}
        if not errors:
            return None
        details = "\n".join(f"{each['message']}: {each['details']}" for found in errors.values() for each in found)
        node_errors = {
            key: {"errors": found, "dependent_outputs": saving, "class_type": graph[key]["class_type"]}
            for key, found in errors.items()
        }
        text = "Prompt outputs failed validation"
        return _invalid(_reason("prompt_outputs_failed_validation", text, details), node_errors)

    def _node_errors(self, graph: Mapping[str, Any], node: Mapping[str, Any]) -> list[dict[str, Any]]:
        inputs, table = node.get("inputs", {}), NODES[node["class_type"]]
        known = {name: value for name, value in inputs.items() if name in table}
        found = []
        for each in problems(known, table):
            kind, text = WORDS[each.wrong]
            found.append(_reason(kind, text, f"{each.field}: {each.value!r}", input_name=each.field))
        for name, value in known.items():
            if isinstance(value, list) and (len(value) != 2 or str(value[0]) not in graph):
                text = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
                found.append(_reason("bad_linked_input", text, name, input_name=name))
        if node["class_type"] == "LoadImage" and ("input", "", inputs.get("image", "")) not in self._files:
            text = "Custom validation failed for node"
            found.append(
                _reason("custom_validation_failed", text, f"image - Invalid image file: {inputs.get('image')}")
            )
        return found

    async def _history(self, request: web.Request) -> web.Response:
        key = request.match_info["id"]
        run = self._runs.get(key)
        if run is None:
            return web.json_response({})
        run.polls += 1
        if run.polls <= self.polls_needed:
            return web.json_response({})
        if not run.done:
            self._execute(key, run)
        failed = run.outcome is Outcome.FAIL_LATER
        messages: list[Any] = [["execution_start", {"prompt_id": key}]]
        if failed:
            error = {"prompt_id": key, "node_id": "3", "node_type": "KSampler", "executed": []}
            error |= {"exception_message": "Allocation on device", "exception_type": "torch.OutOfMemoryError"}
            messages.append(["execution_error", error])
        else:
            messages.append(["execution_success", {"prompt_id": key}])
        status = {"status_str": "error" if failed else "success", "completed": not failed, "messages": messages}
        saving = [key for key, node in run.graph.items() if node["class_type"] == "SaveImage"]
        prompt = [run.number, key, run.graph, run.extra, saving]
        return web.json_response({key: {"prompt": prompt, "outputs": run.outputs, "status": status, "meta": {}}})

    def _execute(self, key: str, run: Run) -> None:
        run.done = True
        if run.outcome is Outcome.FAIL_LATER:
            return
        for node, saving in run.graph.items():
            if saving["class_type"] != "SaveImage":
                continue
            width, height, count = self._latent(run.graph, saving)
            images = []
            for number in range(count):
                name = f"{saving['inputs']['filename_prefix']}_{len(self._files) + 1:05}_.png"
                self._files["output", "", name] = picture(width, height, "png", f"{run.graph} {number}")
                images.append({"filename": name, "subfolder": "", "type": "output"})
                self.painted += 1
            run.outputs[node] = {"images": images}

    def _latent(self, graph: Mapping[str, Any], saving: Mapping[str, Any]) -> tuple[int, int, int]:
        """Follows the links from a `SaveImage` back to what gives the size: width, height, number of pictures."""
        node = saving
        for _ in range(len(graph)):
            inputs = node["inputs"]
            if node["class_type"] == "EmptyLatentImage":
                return inputs["width"] // 8 * 8, inputs["height"] // 8 * 8, inputs["batch_size"]
            if node["class_type"] == "LoadImage":
                with Image.open(io.BytesIO(self._files["input", "", inputs["image"]])) as image:
                    return image.width // 8 * 8, image.height // 8 * 8, 1
            link = next(inputs[name] for name in ("images", "samples", "latent_image", "pixels") if name in inputs)
            node = graph[str(link[0])]
        return 512, 512, 1

    async def _view(self, request: web.Request) -> web.Response:
        query = request.query
        name = query.get("filename", "")
        if not name or name.startswith("/") or ".." in name:
            return web.Response(status=400)
        found = self._files.get((query.get("type", "output"), query.get("subfolder", ""), name))
        return web.Response(status=404) if found is None else web.Response(body=found, content_type="image/png")

    async def _upload(self, request: web.Request) -> web.Response:
        form = read_form(self.calls[-1].body, request.headers.get("Content-Type", ""))
        if form is None or "image" not in form[1]:
            return web.Response(status=400)
        name = f"uploaded_{len(self._files) + 1}.png"
        self._files["input", "", name] = form[1]["image"][0]
        return web.json_response({"name": name, "subfolder": "", "type": "input"})

    async def _queue(self, request: web.Request) -> web.Response:
        waiting = [[run.number, key, run.graph, run.extra, []] for key, run in self._runs.items() if not run.done]
        return web.json_response({"queue_running": waiting[:1], "queue_pending": waiting[1:]})

    async def _change_queue(self, request: web.Request) -> web.Response:
        body = self.calls[-1].json
        gone = [key for key, run in self._runs.items() if not run.done] if body.get("clear") else body.get("delete", [])
        for key in gone:
            if key in self._runs and not self._runs[key].done:
                del self._runs[key]
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        waiting = [key for key, run in self._runs.items() if not run.done]
        if waiting:
            self._runs[waiting[0]].outcome = Outcome.FAIL_LATER
        return web.Response()


def _reason(kind: str, text: str, details: str, **extra: Any) -> dict[str, Any]:
    return {"type": kind, "message": text, "details": details, "extra_info": extra}


def _invalid(error: Mapping[str, Any], node_errors: Mapping[str, Any] | None = None) -> web.Response:
    return web.json_response({"error": error, "node_errors": node_errors or {}}, status=400)
