from pinxit.backends.interface import PaintOrder
from pinxit.images.size import Size
from pinxit.provenance import describe

ORDER = PaintOrder("fake-1", "an otter", Size(256, 512), (1, 2), 4, 3.5, "blur", "vivid")


def test_a_picture_says_how_to_make_it_again():
    assert describe(ORDER, 2) == {
        "Software": "Pinxit",
        "model": "fake-1",
        "prompt": "an otter",
        "negative_prompt": "blur",
        "style": "vivid",
        "seed": "2",
        "num_inference_steps": "4",
        "guidance_scale": "3.5",
        "size": "256x512",
    }


def test_what_a_model_has_not_is_left_out():
    plain = PaintOrder("m", "p", Size(1, 1), (0,), 1)
    assert set(describe(plain, 0)) == {"Software", "model", "prompt", "seed", "num_inference_steps", "size"}


def test_the_order_of_facts_is_fixed():
    assert list(describe(ORDER, 1)) == list(describe(ORDER, 2))
