"""The models on their page."""

import html
import json
import re
import shlex

import pytest

from front import Front, MakeFront
from pinxit.console import examples
from pinxit.console.model_facts import parameters, price_table
from pinxit.settings import ModelEntry
from pinxit.testing.fake_backend import FakeBackend
from pinxit.usage.usage import Recent
from visitor import Visitor, visitor_as

PRICED_FACTS = {
    "model_name": "dear",
    "params": {"model": "fake/fake-1"},
    "description": "Costs <b>money</b>",
    "prices": [{"usd": 0.04}, {"usd": 0.08, "quality": "high"}],
}
PRICED = ModelEntry.model_validate(PRICED_FACTS)


async def test_what_a_model_can_do_and_costs(make_front: MakeFront):
    front = await make_front(model_list=(PRICED,))
    visitor = await visitor_as(front, "ada")
    page = (await visitor.get("/console/models")).text
    for entry in front.house.services.catalog.list():
        assert f'<a href="/console/models/about?model={entry.id}">{entry.id}</a></h2>' in page
        assert entry.spec.licence in await about(visitor, entry.id)
    for text in (page, await about(visitor, "dear")):
        assert "$0.04 – $0.08" in text
        assert "Costs &lt;b&gt;money&lt;/b&gt;" in text
    assert "free" in page


async def about(visitor: Visitor, model: str) -> str:
    return (await visitor.get("/console/models/about", params={"model": model})).text


async def test_a_model_by_any_of_its_names(make_front: MakeFront):
    front = await make_front(model_list=(PRICED,), aliases={"costly-*": "dear"})
    visitor = await visitor_as(front, "ada")
    assert '<h1 class="name">dear</h1>' in await about(visitor, "costly-1")
    for missing in ("", "nothing", "../people", "dear/.."):
        answer = await visitor.get("/console/models/about", params={"model": missing})
        assert (answer.status_code, "There is nothing here" in answer.text) == (404, True)


async def test_its_parameters(make_front: MakeFront):
    entry = ModelEntry.model_validate({"model_name": "mine", "params": {"model": "fake/fake-1", "size": "512x512"}})
    front = await make_front(model_list=(entry,))
    found = {each.name: each for each in parameters(front.house.services.catalog.resolve("mine"), 1000)}
    schema = (await front.client.get("/v1/models/mine", headers=front.authorization)).json()["request_schema"]
    assert set(found) - set(schema["properties"]) <= {"image", "mask", "strength"}
    assert found["size"].usual == "512x512"
    assert found["prompt"].allowed == ("up to 1000 characters",)
    page = await about(await visitor_as(front, "ada"), "mine")
    for name in found:
        assert f"<code>{name}</code>" in page


async def test_many_models_can_be_searched(make_front: MakeFront):
    entries = [{"model_name": f"model-{number}", "params": {"model": "fake/fake-1"}} for number in range(8)]
    front = await make_front(model_list=[ModelEntry.model_validate(entry) for entry in [*entries, PRICED_FACTS]])
    visitor = await visitor_as(front, "ada")
    for query, shown in (("", 10), ("?q=MODEL-3", 1), ("?q=model+fake", 8), ("?q=money", 1), ("?can=seeds", 10)):
        page = (await visitor.get(f"/console/models{query}")).text
        assert page.count("<article") == shown, query
        assert 'role="search"' in page
    for nothing in ("?q=" + "x" * 300, "?q=%3Cscript%3Ealert(1)", "?can=fly"):
        page = (await visitor.get(f"/console/models{nothing}")).text
        assert "No model is like that" in page
        assert "<script>alert" not in page


async def test_how_the_last_orders_went(front: Front):
    visitor = await visitor_as(front, "ada", account_id="acct_default")
    assert "succeed" not in (await visitor.get("/console/models")).text
    for _ in range(3):
        await front.generate()
    page = (await visitor.get("/console/models")).text
    assert "<dt>succeed</dt><dd>100 %</dd>" in page
    assert re.search(r"<dt>usually</dt><dd>\d+\.\d s</dd>", page)
    for share in ("half are", "95 % are"):
        assert re.search(rf"<dt>{share} ready in</dt><dd>\d+\.\d s</dd>", await about(visitor, "fake-1"))
    stranger = await visitor_as(front, "stranger")
    assert "succeed" not in (await stranger.get("/console/models")).text, "what others order is not told"


async def test_a_picture_of_the_account_s_own_is_the_example(make_front: MakeFront):
    front = await make_front(signed_urls=True)
    visitor, stranger = await visitor_as(front, "ada", account_id="acct_default"), await visitor_as(front, "stranger")
    assert "No picture by this model yet" in await about(visitor, "fake-1")
    await front.generate(prompt="a <lighthouse>")
    page = (await visitor.get("/console/models")).text
    assert "a &lt;lighthouse&gt;" in page
    assert "a &lt;lighthouse&gt;</figcaption>" in await about(visitor, "fake-1")
    (url,) = re.findall(r'<img src="(/image/[^"]+)"', page)
    picture = await visitor.http.get(html.unescape(url))
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/png")
    assert "lighthouse" not in (await stranger.get("/console/models")).text


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("pictures.lan:8080", "http://pictures.lan:8080"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("evil'x", "http://127.0.0.1:8000"),
        ("a/b", "http://127.0.0.1:8000"),
        ("a@b", "http://127.0.0.1:8000"),
        ("", "http://127.0.0.1:8000"),
    ],
)
async def test_calls_go_where_the_browser_is(front: Front, host: str, shown: str):
    visitor = await visitor_as(front, "ada")
    page = html.unescape((await visitor.get("/console/models/about?model=fake-1", headers={"host": host})).text)
    assert f"curl {shown}/v1/images/generations" in page


def test_times_by_the_nearest_rank():
    recent = Recent(tuple(float(number) for number in range(1, 21)), errors=5)
    assert (recent.quantile(0.5), recent.quantile(0.95), recent.success) == (10.0, 19.0, 0.8)
    assert Recent((), 1).quantile(0.5) is None
    assert Recent((7.0,), 0).quantile(0.95) == 7.0


async def test_the_table_has_every_price(make_front: MakeFront):
    front = await make_front(FakeBackend(), model_list=(PRICED,))
    entry = front.house.services.catalog.resolve("dear")
    table = price_table(entry)
    assert (table.least, table.most) == (40_000, 80_000)
    assert [size for size, _ in table.rows] == [str(size) for size in entry.capabilities.sizes]


ODD = {"model": "a-1", "prompt": 'it\'s "odd" $(id) `x` \\ \n{{7*7}} </script>'}


def test_the_calls_carry_any_prompt_unharmed():
    base, key = "http://127.0.0.1:8000", "sk-x"
    words = shlex.split(examples.curl(base, ODD, key).replace("\\\n", " "))
    assert json.loads(words[words.index("-d") + 1]) == ODD
    assert "Authorization: Bearer sk-x" in words
    sent: dict[str, object] = {}

    class Images:
        def generate(self, **order: object) -> object:
            sent.update(order)
            return type("Answer", (), {"data": [type("Datum", (), {"url": "u"})]})

    text = examples.python(base, ODD, key).replace("from openai import OpenAI\n", "")
    exec(text, {"OpenAI": lambda **_: type("Client", (), {"images": Images()}), "print": lambda _: None})
    assert sent == ODD
    body = examples.script(base, ODD, key).partition("JSON.stringify(")[2].partition("),\n});")[0]
    assert json.loads(body) == ODD
