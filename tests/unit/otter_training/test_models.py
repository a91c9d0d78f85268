"""The networks at 256 pixels, and going on after an interruption; only where PyTorch is."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from otter.training import autoencoder256, compact, denoiser, denoiser256, encoder  # noqa: E402
from otter.training.autoencoder import to_bytes, to_signed  # noqa: E402
from otter.training.denoiser256 import Denoiser  # noqa: E402
from otter.training.families import FAMILIES, Family  # noqa: E402
from otter.training.learn import Clock, Progress, Trainee  # noqa: E402


def weights(model: object) -> int:
    return sum(weight.numel() for weight in model.parameters())  # type: ignore[attr-defined]


def test_the_budgets_of_what_ships_are_kept() -> None:
    assert weights(Denoiser()) < 32_700_000
    assert 2 * weights(autoencoder256.Decoder()) < 8_000_000
    assert weights(compact.Denoiser()) < 32_700_000
    assert 2 * weights(compact.Decoder()) < 8_000_000


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_pictures_go_to_tokens_and_back_in_shape(family: Family) -> None:
    model = family.autoencoder(None)
    tokens = model.tokens(torch.zeros(1, 4, 256, 256))
    assert tokens.shape == (1, *family.denoiser(None).latent_shape)
    assert model.pictures(tokens).shape == (1, 4, 256, 256)


def study_autoencoder() -> dict[str, torch.Tensor]:
    """Tensors of the names and shapes that the study's file has, with any numbers in them."""
    from otter.training import decoder

    parts = {
        "enc": encoder.Encoder(torch.zeros(16), torch.ones(16)),
        "dec": decoder.Decoder(torch.zeros(16), torch.ones(16)),
    }
    named = {
        f"{name}.{key}": value
        for name, part in parts.items()
        for key, value in part.net.state_dict(prefix="net.").items()
    }
    return named | {"latent_mean": torch.zeros(16), "latent_std": torch.ones(16)}


def test_the_compact_family_begins_as_the_study_ended() -> None:
    torch.manual_seed(0)
    tensors = study_autoencoder()
    model = compact.Autoencoder.from_study(tensors)
    pictures = torch.rand(2, 4, 256, 256) * 2 - 1
    latents = model.encoder(pictures)
    torch.testing.assert_close(latents[:, :16], compact.StudyLatents(tensors)(pictures))
    assert (model.decoder(latents)[:, 3] == 1).all(), "opaque until it is learnt what is not"


def test_the_compact_denoiser_says_at_first_what_the_studys_says() -> None:
    torch.manual_seed(0)
    old = denoiser.Denoiser().eval()
    for weight in old.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    new = compact.Denoiser()
    new.begin_as(old)
    latents, states, pooled = torch.randn(2, 64, 32), torch.randn(2, 20, 384), torch.randn(2, 384)
    times, mask = torch.tensor([0.3, 0.8]), torch.ones(2, 20)
    said = new(latents, times, torch.ones(2), states, pooled, mask)
    torch.testing.assert_close(said[..., :16], old(latents[..., :16], times, states, pooled, mask))
    assert (said[..., 16:] == 0).all()


def test_pixels_survive_the_way_to_signed_numbers_and_back() -> None:
    pixels = torch.randint(0, 256, (2, 8, 8, 4), dtype=torch.uint8)
    pixels[..., :3] = torch.minimum(pixels[..., :3], pixels[..., 3:])
    assert (to_bytes(to_signed(pixels)) == pixels).all()


def test_padding_and_batch_mates_do_not_matter_to_the_denoiser() -> None:
    torch.manual_seed(0)
    model = denoiser256.smaller().eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    latents, states, pooled = torch.randn(2, 256, 16), torch.randn(2, 20, 384), torch.randn(2, 384)
    mask = torch.zeros(2, 20)
    mask[:, :5] = 1
    numbers = (torch.tensor([0.3, 0.8]), torch.tensor([1.0, 3.0]))
    both = model(latents, *numbers, states, pooled, mask)
    states[:, 5:] = 7
    alone = model(latents[:1], *(number[:1] for number in numbers), states[:1], pooled[:1], mask[:1])
    torch.testing.assert_close(both[:1], alone)


def test_a_guidance_of_one_changes_nothing_at_first() -> None:
    model = denoiser256.smaller()
    inputs = (torch.randn(1, 256, 16), torch.tensor([0.5]))
    words = model.without_text(1)
    plain, guided = (model(*inputs, torch.tensor([strength]), *words) for strength in (1.0, 4.0))
    torch.testing.assert_close(plain, guided)


def test_training_goes_on_exactly_where_it_was(tmp_path: Path) -> None:
    def trainee() -> Trainee:
        torch.manual_seed(1)
        return Trainee("line", torch.nn.Linear(3, 1), tmp_path, torch.device("cpu"))

    def learn(one: Trainee) -> None:
        one.model(torch.ones(4, 3, dtype=torch.bfloat16)).float().pow(2).mean().backward()
        one.step(0.01)

    first = trainee()
    for _ in range(8):
        learn(first)
    first.save()
    second = trainee()
    assert second.progress.steps == 8
    learn(first)
    learn(second)
    torch.testing.assert_close(first.master.state_dict(), second.master.state_dict())


def test_without_the_exact_state_it_goes_on_from_the_average(tmp_path: Path) -> None:
    first = Trainee("line", torch.nn.Linear(3, 1), tmp_path, torch.device("cpu"))
    first.save()
    (tmp_path / "line.resume.pt").unlink()
    second = Trainee("line", torch.nn.Linear(3, 1), tmp_path, torch.device("cpu"))
    torch.testing.assert_close(second.master.weight.half(), first.average.weight.half())


def test_the_learning_rate_rises_and_falls() -> None:
    clock = Clock(Progress(minutes=9.0), minutes=1.0, total=10.0)
    assert clock.rate(1.0, 10, 0) < clock.rate(1.0, 10, 9) < 0.2
    assert Clock(Progress(), 1.0, 10.0).rate(1.0, 10, 9) == 1.0
