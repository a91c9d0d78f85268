"""Writes a provider's file to be filled in: `make new-provider NAME=acme`. Nothing else has to be edited."""

import argparse
import keyword
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROVIDERS = ROOT / "src" / "pinxit" / "backends" / "upstream"
SIMULATIONS = ROOT / "tests" / "upstreams"

PROVIDER = '''"""{title}: say here what is special about it."""

from typing import ClassVar

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder
from pinxit.backends.upstream._provider import Answer, Call, Done, Picture, Provider, Step, UpstreamModel, micros
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.size import Size

SQUARE = Size(1024, 1024)


class {title}(Provider):
    """Say how it answers: base64, URLs, or jobs to be asked for."""

    name = "{name}"
    title = "{title}"
    documentation = ("https://docs.{name}.example/images (2026-01-31)",)
    base_url = "https://api.{name}.example/v1"
    credential_variable = "{variable}_API_KEY"
    base64_keys = ("b64_json",)
    models: ClassVar = (
        UpstreamModel(
            ModelSpec(
                "{name}-image-1",
                "What it is good at.",
                Capabilities(sizes=(SQUARE,), default_size=SQUARE, native_size=SQUARE, seed=False),
                owned_by="{name}",
                licence="proprietary",
                created=0,
                prices=PriceList((PriceRule(micros("0.04")),)),
            )
        ),
    )

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        return Call("POST", "/images", json={{"model": order.model, "prompt": order.prompt, "size": str(order.size)}})

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        return Done([Picture(base64=datum["b64_json"]) for datum in answer.json["data"]])
'''

SIMULATION = '''"""{title}'s API as its documentation describes it: cite the pages, and say what was not found."""

import base64
from collections.abc import Sequence

from aiohttp import web
from simulated import Outcome, Simulated, picture

STATUS = {{
    Outcome.REFUSE: 400,
    Outcome.RATE_LIMIT: 429,
    Outcome.BAD_REQUEST: 422,
    Outcome.NO_CREDIT: 402,
    Outcome.OUTAGE: 500,
}}


class Simulated{title}(Simulated):
    name = "{name}"
    documentation = ("https://docs.{name}.example/images (2026-01-31)",)
    models = ("{name}-image-1",)
    impossible = {{
        Outcome.REFUSE: "say what the documentation says of refusals",
        Outcome.FAIL_LATER: "there are no jobs: an answer comes at once",
    }}

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/v1/images", self.paint)]

    async def paint(self, request: web.Request) -> web.Response:
        if request.headers.get("authorization") != f"Bearer {{self.credential}}":
            return web.json_response({{"error": {{"message": "Unauthorized"}}}}, status=401)
        if self.outcome is not Outcome.PAINT:
            return web.json_response({{"error": {{"message": self.outcome.value}}}}, status=STATUS[self.outcome])
        self.painted += 1
        width, height = map(int, self.calls[-1].json["size"].split("x"))
        data = base64.b64encode(picture(width, height)).decode()
        return web.json_response({{"data": [{{"b64_json": data}}]}})
'''


def write(name: str, providers: Path = PROVIDERS, simulations: Path = SIMULATIONS) -> list[Path]:
    """The two files. Raises SystemExit if the name is none or is taken."""
    if not name.isidentifier() or not name.islower() or name.startswith("_") or keyword.iskeyword(name):
        raise SystemExit(f"{name!r} cannot be a provider's name: small letters, digits and _, beginning with a letter.")
    words = {"name": name, "title": name.replace("_", " ").title().replace(" ", ""), "variable": name.upper()}
    files = {providers / f"{name}.py": PROVIDER, simulations / f"simulated_{name}.py": SIMULATION}
    for file in files:
        if file.exists():
            raise SystemExit(f"{file} is there already.")
    for file, template in files.items():
        file.write_text(template.format(**words), encoding="utf-8")
    return list(files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    print(*write(parser.parse_args().name), sep="\n")
