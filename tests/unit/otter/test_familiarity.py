"""How near a prompt is to what otter-1 knows, by the weights that ship."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from otter.training.data.words import Concept
from otter.training.known import captions_of, packed, put_into
from painting import MakeOrder, all_events

from pinxit.backends.interface import Familiarity
from pinxit_otter.backend import OtterBackend
from pinxit_otter.familiarity import ABOUT_THE_PICTURE, KnownCaptions
from pinxit_otter.manifest import KNOWN, WEIGHTS, Manifest
from pinxit_otter.network import Network
from pinxit_otter.spec import KNOWN_FROM

PROMPTS = json.loads((Path(__file__).parent / "near_and_far.json").read_text(encoding="utf-8"))
"""By hand. `KNOWN_FROM` was chosen by the first ones; the others were written afterwards, and nothing was changed."""
MODEL_CARD = Path(__file__).parents[3] / "otter" / "MODEL_CARD.md"

Judge = Callable[[str], Familiarity]


@pytest.fixture(scope="module")
def network(otter: OtterBackend) -> Network:
    """The one that the painter has; nothing is painted meanwhile."""
    assert otter._painter is not None
    return otter._painter._network


@pytest.fixture(scope="module")
def known(otter: OtterBackend) -> KnownCaptions:
    assert otter._painter is not None
    assert otter._painter._known is not None
    return otter._painter._known


@pytest.fixture(scope="module")
def judge(network: Network, known: KnownCaptions) -> Judge:
    def judge(prompt: str) -> Familiarity:
        sentence = network.word_pieces.sentence(prompt)
        return known.judge(sentence, network.encode(sentence))

    return judge


@pytest.mark.parametrize(
    ("prompt", "nearest"),
    [
        ("otter", "otter"),
        ("a cute picture of an otter on a blue background, flat style", "otter"),
        ("PLEASE draw me a really nice Hamburger!", "hamburger"),
        ("an emoji of an owl", "owl"),
        ("a red octopus", "octopus"),
    ],
)
def test_a_known_thing_is_known_in_any_wording(judge: Judge, prompt: str, nearest: str) -> None:
    said = judge(prompt)
    assert (said.nearest, said.known) == (nearest, True)
    assert KNOWN_FROM <= said.similarity <= 1


@pytest.mark.parametrize(
    "prompt",
    [
        "quarterly revenue spreadsheet",
        "a photograph of the Brandenburg Gate at dusk",
        "zxqv",
        "水獺",
        "?!",
        "a cute picture of it on a blue background",
    ],
)
def test_what_it_has_never_seen_is_far(judge: Judge, prompt: str) -> None:
    said = judge(prompt)
    assert not said.known
    assert -1 <= said.similarity < KNOWN_FROM


@pytest.mark.parametrize(
    ("written", "known_at_least", "far_at_least"), [("chosen_by", 0.98, 0.95), ("written_afterwards", 0.97, 0.87)]
)
def test_how_often_it_is_right(judge: Judge, written: str, known_at_least: float, far_at_least: float) -> None:
    """The shares are those of the model card, which is to be kept true."""
    near, far = PROMPTS[written]["known"], PROMPTS[written]["far"]
    right_near = sum(judge(prompt).known for prompt in near)
    right_far = sum(not judge(prompt).known for prompt in far)
    assert right_near / len(near) >= known_at_least
    assert right_far / len(far) >= far_at_least
    card = MODEL_CARD.read_text(encoding="utf-8")
    assert f"| {right_near} of {len(near)}, {right_near / len(near):.0%} |".replace("%", " %") in card
    assert f"| {right_far} of {len(far)}, {right_far / len(far):.0%} |".replace("%", " %") in card
    assert f"| {KNOWN_FROM:.2f} |" in card


def test_what_lies_in_the_file_is_what_the_encoder_says(judge: Judge, known: KnownCaptions) -> None:
    """Else text.onnx was exported anew, and known.npz must be too (otter/training/known.py)."""
    for caption in known.captions[::100]:
        assert judge(caption).nearest == caption
        assert judge(caption).similarity >= 0.999


def test_the_file_is_small_and_names_what_it_should(known: KnownCaptions) -> None:
    assert Manifest.read(WEIGHTS).files[KNOWN].bytes <= 1_000_000
    assert len(known) == len(set(known.captions)) > 1500
    assert {"otter", "robot", "pizza", "castle"} <= set(known.captions)


def test_the_file_is_written_the_same_each_time_and_the_others_stay(network: Network, tmp_path: Path) -> None:
    concepts = [
        Concept("1", "red apple", ("apple",), (), "food", 1),
        Concept("2", "Käse", ("cheese", "apple"), ("yellow",), "food", 1),
    ]
    captions, vectors = captions_of(concepts, network)
    contents = packed(captions, vectors)
    assert packed(*captions_of(concepts, network)) == contents
    assert captions == ["Käse", "apple", "cheese", "red apple"]
    for path in WEIGHTS.iterdir():
        (tmp_path / path.name).symlink_to(path)
    for name in (KNOWN, "manifest.json"):
        (tmp_path / name).unlink()
    before = json.loads((WEIGHTS / "manifest.json").read_text(encoding="utf-8"))
    del before["files"][KNOWN]
    (tmp_path / "manifest.json").write_text(json.dumps(before), encoding="utf-8")

    put_into(tmp_path, contents)

    manifest = Manifest.read(tmp_path)
    manifest.check_sizes()
    assert {name for name in manifest.files if manifest.files[name] != Manifest.read(WEIGHTS).files[name]} == {KNOWN}
    known = KnownCaptions.read(manifest.read_verified(KNOWN), network.word_pieces)
    for caption in captions:
        sentence = network.word_pieces.sentence(caption)
        said = known.judge(sentence, network.encode(sentence))
        assert (said.nearest, said.similarity) == (caption, pytest.approx(1, abs=0.002))


def test_words_about_the_picture_are_read_as_they_are_written(network: Network) -> None:
    assert len(set(ABOUT_THE_PICTURE)) == len(ABOUT_THE_PICTURE)
    assert all(network.word_pieces.unknown not in network.word_pieces.ids(word) for word in ABOUT_THE_PICTURE)


async def test_the_painter_says_it_first_and_once(otter: OtterBackend, make_order: MakeOrder) -> None:
    order = make_order("an owl", seeds=(1, 2), num_inference_steps=1)
    events = await all_events(otter.generate(order))
    (said,) = [event for event in events if isinstance(event, Familiarity)]
    assert events[0] == said
    assert (said.nearest, said.known) == ("owl", True)


async def test_neither_style_nor_negative_prompt_counts(otter: OtterBackend, make_order: MakeOrder) -> None:
    async def said(prompt: str, **changes: object) -> object:
        return (await all_events(otter.generate(make_order(prompt, num_inference_steps=1, **changes))))[0]

    for prompt in ("an owl", "quarterly revenue spreadsheet"):
        assert await said(prompt) == await said(prompt, style="3d", negative_prompt="an otter")


def test_a_table_of_ones_own() -> None:
    """Without weights: the nearer of two meanings counts, and cosines do not depend on lengths."""
    from pinxit_otter.network import Text
    from pinxit_otter.wordpiece import WordPieces

    pieces = WordPieces(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "fox", "den"])
    axes = np.eye(3, dtype=np.float32)
    known = KnownCaptions(["fox", "den"], axes[:2] * [[5], [0.1]], pieces)
    states = np.stack([axes[0], axes[2], axes[0], axes[0]])  # start, "a", "fox", end
    sentence = pieces.sentence("a fox")

    assert known.judge(sentence, Text(states, axes[1], np.ones(4, np.float32))) == Familiarity("fox", 1.0, known=True)
    assert known.judge(pieces.sentence("a"), Text(states, axes[2], np.ones(4, np.float32))).similarity == 0
