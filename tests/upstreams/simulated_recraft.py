"""Recraft's API, simulated from its public documentation and OpenAPI document.

`Authorization: Bearer …`, JSON like OpenAI's at `/v1/images/generations`; one to six pictures as addresses that live
about 24 hours, or as base64. A size is `WxH` or a ratio `w:h`, from a table per family of models. Edits are
`multipart/form-data`: `imageToImage` (`strength` 0 to 1) and `inpaint` (a mask);
what comes is as large as what went in.

The documentation says that errors are JSON with a status outside of 2xx and gives neither the bodies nor the list of
codes; `{"code", "message"}` and the codes here are guesses by the nature of things, and an empty account (the token
"needs a positive API units balance") is not documented, therefore impossible here. It also says of parameters that a
model does not know that they are "rejected or ignored": here they are rejected. The default of `image_format` is not
written down; webp here. Not simulated: vectors, styles, upscaling, backgrounds. There is no official client: the
documentation shows the `openai` client, which was not run against it.
"""

import base64
import io
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web
from checking import Accepts, Problem, Wrong, problems, read_form, typed
from hosting import Host
from PIL import Image
from simulated import Outcome, Simulated, picture

SIZES_3 = {
    "1:1": "1024x1024",
    "2:1": "2048x1024",
    "1:2": "1024x2048",
    "3:2": "1536x1024",
    "2:3": "1024x1536",
    "4:3": "1365x1024",
    "3:4": "1024x1365",
    "5:4": "1280x1024",
    "4:5": "1024x1280",
    "6:10": "1024x1707",
    "14:10": "1434x1024",
    "10:14": "1024x1434",
    "16:9": "1820x1024",
    "9:16": "1024x1820",
}
SIZES_4 = {
    "1:1": "1024x1024",
    "2:1": "1536x768",
    "1:2": "768x1536",
    "3:2": "1280x832",
    "2:3": "832x1280",
    "4:3": "1216x896",
    "3:4": "896x1216",
    "5:4": "1152x896",
    "4:5": "896x1152",
    "6:10": "832x1344",
    "14:10": "1280x896",
    "10:14": "896x1280",
    "16:9": "1344x768",
    "9:16": "768x1344",
}
SIZES_4_PRO = {ratio: "x".join(str(2 * int(side)) for side in size.split("x")) for ratio, size in SIZES_4.items()}
"""The table of the Pro models is that of the others times two, as far as it could be read (its first five rows)."""
SIZES: Mapping[str, Mapping[str, str]] = {
    "recraftv3": SIZES_3,
    "recraftv4": SIZES_4,
    "recraftv4_pro": SIZES_4_PRO,
    "recraftv4_1": SIZES_4,
    "recraftv4_1_pro": SIZES_4_PRO,
    "recraftv4_1_flash": SIZES_4,
}
DEFAULT = "recraftv4_1"
"""What paints if a request names no model."""
ONLY_3 = {"style": Accepts(), "substyle": Accepts(), "negative_prompt": Accepts(), "text_layout": Accepts((list,))}
COMMON = {
    "n": Accepts((int,), minimum=1, maximum=6),
    "model": Accepts(choices=tuple(SIZES)),
    "response_format": Accepts(choices=("url", "b64_json")),
    "image_format": Accepts(choices=("webp", "png")),
    "random_seed": Accepts((int,), minimum=0, maximum=2**32 - 1),
    "block_nsfw": Accepts((bool,)),
    "expire": Accepts((bool,)),
    "controls": Accepts((dict,)),
    "style_id": Accepts(),
}


class SimulatedRecraft(Simulated):
    """https://external.api.recraft.ai"""

    name = "recraft"
    documentation = (
        "https://www.recraft.ai/docs/api-reference/agents.md (2026-11-22)",
        "https://www.recraft.ai/docs/api-reference/getting-started (2026-11-22)",
        "https://recraft.ai/llms-full.txt (appendix: lengths and sizes, 2026-11-22)",
        "https://external.api.recraft.ai/doc (OpenAPI document, in https://github.com/tryAGI/Recraft, 2026-11-22)",
        "https://docs.litellm.ai/docs/providers/recraft (2026-11-22)",
    )
    models = tuple(SIZES)
    edits = ("recraftv3",)
    impossible: ClassVar = {
        Outcome.NO_CREDIT: "no answer is documented for an empty account",
        Outcome.FAIL_LATER: "answers come at once",
    }

    def __init__(self) -> None:
        super().__init__()
        self._host = Host()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            self._host.route(),
            web.post("/v1/images/generations", self._generate),
            web.post("/v1/images/{action:imageToImage|inpaint}", self._edit),
        ]

    def _refused(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") != f"Bearer {self.credential}":
            return _error(401, "unauthorized", "Unauthorized")
        if self.outcome is Outcome.RATE_LIMIT:
            return _error(429, "rate_limit_exceeded", "Too many requests")
        if self.outcome is Outcome.OUTAGE:
            return _error(503, "service_unavailable", "Service unavailable")
        return None

    async def _generate(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if request.content_type != "application/json":
            return _error(400, "bad_request", "content type must be application/json")
        given = self.calls[-1].json
        model = given.get("model", DEFAULT) if isinstance(given, dict) else DEFAULT
        table = SIZES.get(str(model), SIZES[DEFAULT])
        not_3 = model != "recraftv3"
        fields = {
            **{name: field for name, field in COMMON.items() if name != "style_id" or model != "recraftv4_1_flash"},
            **({} if not_3 else ONLY_3),
            "prompt": Accepts(required=True, max_length=10_000 if not_3 else 1000),
            "size": Accepts(choices=(*table, *table.values())),
        }
        if (refused := self._bad(problems(given, fields))) is not None:
            return refused
        size = given.get("size") or "1:1"
        return self._paint(given, table.get(size, size))

    async def _edit(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        form = read_form(self.calls[-1].body, request.headers.get("Content-Type", ""))
        if form is None:
            return _error(400, "bad_request", "content type must be multipart/form-data")
        texts, files = form
        to_image = request.match_info["action"] == "imageToImage"
        strength = {"strength": Accepts((float,), minimum=0, maximum=1, required=True)} if to_image else {}
        fields = {
            **COMMON,
            **ONLY_3,
            **strength,
            "prompt": Accepts(required=True, max_length=1000),
            "model": Accepts(choices=self.edits),
        }
        given = typed(texts, fields)
        wanted = {"image"} if to_image else {"image", "mask"}
        found = problems(given, fields) + [Problem(name, Wrong.MISSING) for name in sorted(wanted - set(files))]
        found += [Problem(name, Wrong.UNKNOWN) for name in sorted(set(files) - wanted)]
        if (refused := self._bad(found)) is not None:
            return refused
        with Image.open(io.BytesIO(files["image"][0])) as image:
            size = f"{image.width}x{image.height}"
        return self._paint(given, size)

    def _bad(self, found: Sequence[Problem]) -> web.Response | None:
        if found:
            return _error(400, "bad_request", "; ".join(f"{each.field}: {each.message}" for each in found))
        if self.outcome is Outcome.BAD_REQUEST:
            return _error(400, "bad_request", "prompt: invalid")
        if self.outcome is Outcome.REFUSE:
            return _error(400, "content_policy_violation", "The prompt violates the content policy")
        return None

    def _paint(self, given: Mapping[str, Any], size: str) -> web.Response:
        width, height = (int(side) for side in size.split("x"))
        encoding = given.get("image_format") or "webp"
        data: list[dict[str, Any]] = []
        for number in range(given.get("n") or 1):
            painted = picture(width, height, encoding, f"{given['prompt']} {given.get('random_seed')} {number}")
            self.painted += 1
            if given.get("response_format") == "b64_json":
                shown = {"b64_json": base64.b64encode(painted).decode()}
            else:
                shown = {"url": self._host.put(self.url, painted, encoding)}
            data.append({"image_id": secrets.token_hex(16), **shown})
        return web.json_response({"created": int(time.time()), "credits": 40 * len(data), "data": data})


def _error(status: int, code: str, text: str) -> web.Response:
    return web.json_response({"code": code, "message": text}, status=status)
