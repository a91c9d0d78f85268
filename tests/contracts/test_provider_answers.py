"""What every upstream provider makes of answers that no documentation knows: an error of ours, never a crash."""

import json
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from simulated import picture
from test_providers import KINDS, simulated

from pinxit.backends.interface import Asked, Capabilities, ModelSpec, PaintOrder
from pinxit.backends.upstream import load_kind
from pinxit.backends.upstream._provider import Access, Again, Answer, Done, Pending, Proceed, Provider, UpstreamModel
from pinxit.errors import PinxitError
from pinxit.images.decoding import read_header
from pinxit.images.size import Size

READABLE = (PinxitError, KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)
"""What `UpstreamBackend` makes a BackendError of."""
NAMES = ("error", "errors", "detail", "data", "images", "output", "status", "result", "code", "name", "candidates")
WRONG = (None, True, 0, -1.5, "", "x", [], {}, [None], [[]], [{}], {"": {}}, {"status": []}, {"message": {"a": 1}})
BODIES = (
    b"",
    b"\xff\xfe",
    b"<html><title>503</title></html>",
    b'{"data": [',
    *(json.dumps(wrong).encode() for wrong in WRONG),
    *(json.dumps({name: wrong}).encode() for name in NAMES for wrong in WRONG),
)
STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 451, 500, 502, 503, 504, 529, 599)


def provider_of(kind: str) -> Provider:
    server = simulated(kind)
    path = server.base_path(urlsplit(load_kind(kind).base_url).path)
    provider = load_kind(kind)(Access(f"https://example.com{path}", "credential-0123", server.options()))
    if models := server.configured_models():
        provider.offer(models)
    return provider


def order_for(model: UpstreamModel) -> PaintOrder:
    can = model.spec.capabilities
    return PaintOrder(model.spec.id, "a fox", can.default_size, (7,), 1, asked=Asked(encoding=can.encodings[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_that_nobody_expects_is_an_error_of_ours(kind: str):
    provider = provider_of(kind)
    order = order_for(provider.list_models()[0])
    for body in BODIES:
        for media_type in ("application/json", "text/html"):
            answer = Answer(200, {"content-type": media_type}, body, provider.base64_keys)
            with suppress(*READABLE):
                assert isinstance(provider.read_response(answer, order), Done | Proceed | Again | Pending), body


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_told_whatever_its_body_is(kind: str):
    provider = provider_of(kind)
    order = order_for(provider.list_models()[0])
    for body in BODIES:
        for status in STATUSES:
            answer = Answer(status, {"content-type": "application/json"}, body, provider.base64_keys)
            error = provider.read_error(answer, order)
            assert isinstance(error, PinxitError), (status, body)
            assert error.message.strip()
            assert len(error.message) < 1000


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_the_operator_describes_is_asked_for_without_what_it_has_not(kind: str):
    wide = Size(1000, 500)
    can = Capabilities((wide,), default_size=wide, native_size=wide, seed=False, edits=True, max_images=1)
    model = UpstreamModel(ModelSpec("acme/new", "New.", can, "acme", "unknown", 0), per_call=2)
    provider = provider_of(kind)
    provider.offer([model])
    sent = read_header(picture(96, 64, "png", "to begin from"))
    for images in ((), (sent,)):
        order = PaintOrder("acme/new", "a fox", wide, (7, 8), 1, asked=Asked(images=images))
        call = provider.build_request(order, model)
        text = json.dumps(call.json) + " ".join(f"{part.name}={part.content!r}" for part in call.form)
        if kind != "comfyui":  # its workflow says what is sent, and a picture is sent before that
            assert "a fox" in text
            assert not any(name in text for name in ("seed", "steps", "guidance", "cfg_scale"))
