"""Runs a provider's file against the live service once and keeps what was said: `make record PROVIDER=openai`.

Needs the provider's credential in its usual environment variable, and costs the price of one picture. The recording has
no credential in it: headers that we send are left out, and the credential is cut out of everything else. The contract
suite reads recordings again, and docs/providers.md says of which providers there are some.
"""

import argparse
import asyncio
import base64
import json
import os
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pinxit.backends.interface import Asked, ModelSpec, PaintedFile, PaintOrder
from pinxit.backends.upstream import load_kind
from pinxit.backends.upstream._base import UpstreamBackend
from pinxit.backends.upstream._provider import Access, Answer, Call
from pinxit.runners.checked import paint_checked

FOLDER = Path(__file__).with_name("recordings")
KEPT_HEADERS = ("content-type", "retry-after", "x-request-id")


class Recorder(UpstreamBackend):
    """Keeps every answer that it gets."""

    said: list[dict[str, Any]]

    async def _send(self, call: Call, deadline: float) -> Answer:
        answer = await super()._send(call, deadline)
        self.said.append(
            {
                "request": {"method": call.method, "path": call.url, "json": call.json},
                "status": answer.status,
                "headers": {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers},
                "body": base64.b64encode(answer.body).decode(),
            }
        )
        return answer


def order_for(spec: ModelSpec) -> PaintOrder:
    """One picture of the cheapest kind."""
    can = spec.capabilities
    size = min(can.sizes, key=lambda size: size.width * size.height)
    quality = next(iter(can.qualities), "auto")
    steps = int(can.num_inference_steps.minimum) if can.num_inference_steps else 1
    guidance = can.guidance_scale.default if can.guidance_scale else None
    asked = Asked(quality=quality, encoding=can.encodings[0])
    return PaintOrder(spec.id, "a red apple on a white table", size, (7,), steps, guidance, asked=asked)


async def record(kind: str, model: str | None) -> Path:
    """Returns the file. Raises what the provider raises."""
    provider_class = load_kind(kind)
    credential = os.environ[provider_class.credential_variable]
    provider = provider_class(Access(provider_class.base_url, credential))
    backend = Recorder(kind, provider)
    backend.said = []
    await backend.open()
    try:
        specs = [spec for spec in backend.models() if model in (None, spec.id)]
        order = order_for(specs[0])
        async with aclosing(paint_checked(backend, order)) as events:
            files = [event async for event in events if isinstance(event, PaintedFile)]
    finally:
        await backend.close()
    text = json.dumps({"kind": kind, "model": order.model, "size": str(files[0].size), "said": backend.said}, indent=1)
    assert credential not in text.replace("\\", "")
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{kind}.json"
    file.write_text(text + "\n", encoding="utf-8")
    return file


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("provider")
    parser.add_argument("--model")
    wanted = parser.parse_args()
    print(asyncio.run(record(wanted.provider, wanted.model)))
