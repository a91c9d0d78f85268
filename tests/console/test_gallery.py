"""The gallery: what is found, whose it is, thumbnails made once, and what deleting takes away."""

import asyncio
import html
import io
import json
import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import update

from front import Front, MakeFront
from pinxit.console.gallery import PAGE, rows_of
from pinxit.database.tables import api_keys, images
from pinxit.images import thumbnail as thumbnails
from pinxit.images.size import Size
from pinxit.library import repository
from pinxit.library import thumbnails as library_thumbnails
from pinxit.settings import ModelEntry
from visitor import Visitor, visitor_as

JSON = {"accept": "application/json"}


@pytest.fixture
async def ada(front: Front) -> Visitor:
    return await visitor_as(front, "ada", account_id="acct_default")


async def paint(front: Front, prompt: str = "a lighthouse", **body: Any) -> str:
    """The id of a new picture."""
    answer = await front.generate(prompt=prompt, **body)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["data"][0]["id"]
    return found


def shown(page: Any) -> list[dict[str, Any]]:
    """The pictures on a page."""
    return [json.loads(html.unescape(each)) for each in re.findall(r'data-picture="([^"]+)"', page.text)]


def prompts(page: Any) -> list[str]:
    return [picture["prompt"] for picture in shown(page)]


def onward(page: Any) -> str:
    (found,) = re.findall(r'data-onward="([^"]*)"', page.text)
    return html.unescape(found)


def kept(front: Front) -> list[Path]:
    return [path for path in (front.house.services.settings.data_dir / "thumbnails").rglob("*") if path.is_file()]


async def test_nothing_yet(ada: Visitor):
    page = await ada.get("/console/gallery")
    assert "No pictures yet" in page.text
    assert not re.search(r'<div class="empty" id="nothing" hidden', page.text)


async def test_everything_that_is_known_of_a_picture(make_front: MakeFront):
    dear = {"model_name": "dear", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.04}]}
    front = await make_front(model_list=(ModelEntry.model_validate(dear),))
    ada = await visitor_as(front, "ada", account_id="acct_default")
    asked = {"model": "dear", "seed": 7, "negative_prompt": "fog & <rain>", "output_format": "webp", "quality": "high"}
    image_id = await paint(front, "a <lighthouse>", **asked)
    (picture,) = shown(await ada.get("/console/gallery"))
    facts = dict(picture["facts"])
    expected = {"Model": "dear", "Size": "256 × 256", "Seed": "7", "Quality": "high", "Price": "$0.04", "Key": "test"}
    assert expected.items() <= facts.items()
    assert (facts["Without"], facts["Made from"]) == ("fog & <rain>", "")
    assert (picture["name"], picture["rows"]) == ("a-lighthouse-7.webp", 12)
    alone = (await ada.get(f"/console/gallery/{image_id}")).text
    assert "a &lt;lighthouse&gt;" in alone
    for value in facts.values():
        assert html.escape(value, quote=False) in alone
    public = await front.client.get(picture["url"])
    file = await ada.get(picture["file"])
    assert file.content == public.content
    assert file.headers["content-type"] == "image/webp"
    assert file.headers["cache-control"].startswith("private")
    again = json.loads(re.findall(r'id="facts">(.*?)</script>', (await ada.get(picture["again"])).text)[0])["again"]
    settings = {"model": "dear", "prompt": "a <lighthouse>", "seed": 7, "size": "256x256", "quality": "high"}
    assert again == {**settings, "negative_prompt": "fog & <rain>", "output_format": "webp"}


@pytest.mark.both_databases
async def test_what_is_looked_for_is_found(front: Front):
    ada = await visitor_as(front, "ada", account_id="acct_default")
    for prompt in ("a red Fox", "a red lighthouse", "100% wool", "under_score", "ein Überzug"):
        await paint(front, prompt)
    await ada.paint(prompt="a blue fox")
    found = {
        "": 6,
        "q=fox": 2,
        "q=RED": 2,
        "q=fox+red": 1,
        "q=%25": 1,
        "q=_": 1,
        "q=%C3%BCberzug": 1,
        "q=zebra": 0,
        "q=fox&key=none": 1,
        "key=none": 1,
        "model=fake-1": 6,
        "model=no-such": 0,
        "q=%00": 6,
        f"q={'x' * 5000}": 0,
        "q=%27+OR+1%3D1+--": 0,
        "key=key_nobody": 0,
    }
    for query, count in found.items():
        page = await ada.get(f"/console/gallery?{query}")
        assert (page.status_code, len(shown(page))) == (200, count), query
        assert (count == 0) == ("No picture is like that" in page.text and 'id="nothing">' in page.text)
    (key,) = [row.id for row in await front.rows(api_keys)]
    assert len(shown(await ada.get(f"/console/gallery?key={key}"))) == 5


async def test_page_after_page_each_picture_comes_once(front: Front, ada: Visitor):
    """Also those of one moment, and with a deleted one for the place to go on from."""
    for n in (10,) * 5 + (7,):
        await front.generate(n=n)
    same = (await front.rows(images))[0].created_at
    await front.house.database.write(lambda connection: connection.execute(update(images).values(created_at=same)))
    page = await ada.get("/console/gallery")
    seen = [picture["id"] for picture in shown(page)]
    assert len(seen) == PAGE
    await ada.post(f"/console/gallery/{seen[-1]}/delete")
    further = (await ada.get(f"/console/gallery/pictures?{onward(page)}", headers=JSON)).json()
    seen += [picture["id"] for picture in further["pictures"]]
    assert (len(seen), len(set(seen)), further["onward"]) == (57, 57, "")
    plain = await ada.get(f"/console/gallery?{onward(page)}")
    assert [picture["id"] for picture in shown(plain)] == seen[PAGE:], "also by the link"


@pytest.mark.both_databases
async def test_one_look_goes_through_so_many_and_the_next_goes_on(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(repository, "LOOKED_THROUGH", 3)
    ada = await visitor_as(front, "ada", account_id="acct_default")
    await paint(front, "the needle")
    for _ in range(9):
        await paint(front, "hay")
    page = await ada.get("/console/gallery?q=needle")
    assert (shown(page), "No picture is like that" in page.text) == ([], True)
    assert re.search(r'id="nothing" hidden', page.text), "not said before all is looked through"
    query, looks, found = onward(page), 1, []
    while query:
        answer = (await ada.get(f"/console/gallery/pictures?{query}", headers=JSON)).json()
        query, looks = answer["onward"], looks + 1
        found += [picture["prompt"] for picture in answer["pictures"]]
        assert looks < 10
    assert (found, looks) == (["the needle"], 3)


async def test_a_thumbnail_is_made_once(front: Front, ada: Visitor, monkeypatch: pytest.MonkeyPatch):
    made: list[int] = []
    real = thumbnails.thumbnail
    monkeypatch.setattr(library_thumbnails, "thumbnail", lambda data: made.append(len(data)) or real(data))
    image_id = await paint(front, size="1024x1024")
    assert kept(front) == [], "not before it is looked at"
    answers = [await ada.get(f"/console/gallery/{image_id}/thumbnail") for _ in range(3)]
    assert {answer.content for answer in answers} == {kept(front)[0].read_bytes()}
    small = Image.open(io.BytesIO(answers[0].content))
    assert (small.format, small.size, len(made)) == ("WEBP", (thumbnails.SIDE, thumbnails.SIDE), 1)
    assert answers[0].headers["cache-control"].startswith("private")
    assert not small.getexif()
    assert len(kept(front)) == 1


async def test_deleting_takes_picture_thumbnail_and_address(front: Front, ada: Visitor):
    first, second = await paint(front), await paint(front)
    for image_id in (first, second):
        await ada.get(f"/console/gallery/{image_id}/thumbnail")
    url = next(picture["url"] for picture in shown(await ada.get("/console/gallery")) if picture["id"] == first)
    assert (await ada.post(f"/console/gallery/{first}/delete")).headers["location"] == "/console/gallery?done=deleted"
    assert [path.stem for path in kept(front)] == [second]
    assert (await front.client.get(url)).status_code == 404
    for rest in ("", "/thumbnail", "/file"):
        assert (await ada.get(f"/console/gallery/{first}{rest}")).status_code == 404
    assert (await ada.post(f"/console/gallery/{second}/delete", JSON)).status_code == 204
    assert (kept(front), front.files()) == ([], [])
    gone = await ada.post(f"/console/gallery/{second}/delete", JSON)
    assert (gone.status_code, gone.json()["error"]["message"]) == (404, "There is no such picture.")


async def test_a_picture_deleted_while_its_thumbnail_is_made_leaves_none(
    front: Front, ada: Visitor, monkeypatch: pytest.MonkeyPatch
):
    began, go_on = threading.Event(), threading.Event()
    real = thumbnails.thumbnail

    def held(data: bytes) -> bytes:
        began.set()
        assert go_on.wait(10)
        return real(data)

    monkeypatch.setattr(library_thumbnails, "thumbnail", held)
    image_id = await paint(front)
    asking = asyncio.create_task(ada.get(f"/console/gallery/{image_id}/thumbnail"))
    assert await asyncio.to_thread(began.wait, 10)
    await front.house.services.library.delete("acct_default", image_id)
    go_on.set()
    assert (await asking).status_code == 404
    assert kept(front) == []


async def test_where_a_thumbnail_cannot_be_kept_it_is_shown_all_the_same(front: Front, ada: Visitor):
    image_id = await paint(front)
    (front.house.services.settings.data_dir / "thumbnails").write_text("in the way")
    assert (await ada.get(f"/console/gallery/{image_id}/thumbnail")).status_code == 200


async def test_a_full_disk_keeps_none(front: Front, ada: Visitor, monkeypatch: pytest.MonkeyPatch):
    image_id = await paint(front)

    async def nothing_left() -> int:
        return 0

    monkeypatch.setattr(front.house.storage, "free_bytes", nothing_left)
    assert (await ada.get(f"/console/gallery/{image_id}/thumbnail")).status_code == 200
    assert kept(front) == []


async def test_a_damaged_file_is_said(front: Front, ada: Visitor):
    image_id = await paint(front)
    front.files()[0].write_bytes(front.files()[0].read_bytes()[:100])
    answer = await ada.get(f"/console/gallery/{image_id}/thumbnail", headers=JSON)
    assert (answer.status_code, "damaged" in answer.text) == (404, True)
    front.files()[0].unlink()
    assert (await ada.get(f"/console/gallery/{image_id}/thumbnail")).status_code == 404


async def test_a_public_address_that_is_over_is_not_offered(make_front: MakeFront):
    front = await make_front(signed_urls=True, url_ttl_seconds=3600)
    ada = await visitor_as(front, "ada", account_id="acct_default")
    await paint(front)
    (picture,) = shown(await ada.get("/console/gallery"))
    assert (await front.client.get(picture["url"])).status_code == 200
    old = front.house.services.now() - timedelta(seconds=1)
    await front.house.database.write(lambda connection: connection.execute(update(images).values(url_expires_at=old)))
    (picture,) = shown(await ada.get("/console/gallery"))
    assert picture["url"] == ""
    assert (await ada.get(picture["file"])).status_code == 200, "its owner sees it all the same"


async def test_another_account_s_pictures_are_not_there(front: Front, ada: Visitor):
    image_id = await paint(front, "a hidden otter")
    await ada.get(f"/console/gallery/{image_id}/thumbnail")
    stranger = await visitor_as(front, "stranger")
    assert "otter" not in (await stranger.get("/console/gallery?q=hidden")).text
    for path in ("", "/file", "/thumbnail"):
        assert (await stranger.get(f"/console/gallery/{image_id}{path}")).status_code == 404
    assert (await stranger.get(f"/console/gallery/pictures?after={image_id}", headers=JSON)).status_code == 404
    assert "hidden otter" not in (await stranger.get(f"/console/playground?again={image_id}")).text
    assert (await stranger.post(f"/console/gallery/{image_id}/delete")).status_code == 404
    assert len(front.files()) == 1


@pytest.mark.parametrize(
    ("width", "height", "rows"), [(512, 512, 12), (512, 1024, 24), (4096, 256, 4), (256, 4096, 36)]
)
def test_how_tall_a_picture_is_in_the_grid(width: int, height: int, rows: int):
    assert rows_of(Size(width, height)) == rows
