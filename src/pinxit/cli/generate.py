"""`pinxit generate`: a picture from the command line, by a server or in this process through the same story."""

import asyncio
import base64
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from pinxit.backends.interface import Familiarity
from pinxit.cli.common import AsJson, ConfigFile, DataDir, print_json, settings_from
from pinxit.errors import BackendError, BackendUnavailable, InvalidValue, PinxitError, StartupError
from pinxit.generations.generation import far_sentence
from pinxit.ids import new_id
from pinxit.images.request import Encoding
from pinxit.settings import Settings

POLL_SECONDS = 0.1
TIMEOUT_SECONDS = 600.0
_ENCODINGS = {".png": Encoding.PNG, ".jpg": Encoding.JPEG, ".jpeg": Encoding.JPEG, ".webp": Encoding.WEBP}

ShowProgress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


@dataclass(frozen=True, slots=True)
class Painted:
    """One picture of the answer."""

    data: bytes
    seed: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, from whichever painter."""

    generation_id: str
    model: str
    images: tuple[Painted, ...]
    far: Familiarity | None = None
    """What the model knows that is nearest, if the prompt is far from that."""


def generate(
    prompt: Annotated[str, typer.Argument(help="What to paint.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File: .png, .jpg or .webp.", show_default="pinxit-<seed>.png"),
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="`pinxit models` lists them.", show_default=False)
    ] = None,
    n: Annotated[int, typer.Option("-n", help="How many pictures, 1 to 10.")] = 1,
    size: Annotated[str | None, typer.Option(help="auto, 1024x1024 or 16:9.", show_default=False)] = None,
    quality: Annotated[str | None, typer.Option(help="auto, low, medium, high …", show_default=False)] = None,
    style: Annotated[str | None, typer.Option(help="One of the model's styles.", show_default=False)] = None,
    background: Annotated[
        str | None, typer.Option(help="transparent, opaque or auto; transparent as .png or .webp.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed paints the same picture.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(help="Inference steps.", show_default=False)] = None,
    guidance: Annotated[
        float | None, typer.Option(help="How closely to follow the prompt.", show_default=False)
    ] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What not to paint.", show_default=False)] = None,
    server: Annotated[
        str | None,
        typer.Option(envvar="PINXIT_URL", help="Ask this server instead of painting here.", show_default=False),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(envvar="PINXIT_API_KEY", help="For --server.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Paint a picture and save it."""
    body: dict[str, Any] = {
        "prompt": prompt,
        "model": model,
        "n": n,
        "size": size,
        "quality": quality,
        "style": style,
        "background": background,
        "seed": seed,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "negative_prompt": negative_prompt,
        "output_format": _encoding(output).value,
        "response_format": "b64_json",
    }
    body = {name: value for name, value in body.items() if value is not None}
    with _ProgressBar(quiet=as_json) as show:
        if server is not None:
            answer = asyncio.run(_ask_server(server.rstrip("/"), api_key, body, show))
        else:
            answer = asyncio.run(_paint_here(settings_from(config, data_dir=data_dir), body, show))
    files = [_save(picture, output, index, len(answer.images)) for index, picture in enumerate(answer.images)]
    if answer.far is not None:
        typer.echo(far_sentence(answer.model, answer.far), err=True)
    if as_json:
        pictures = [{"file": str(file), "seed": image.seed} for file, image in zip(files, answer.images, strict=True)]
        print_json({"generation": answer.generation_id, "model": answer.model, "images": pictures})
    else:
        for file, image in zip(files, answer.images, strict=True):
            typer.echo(f"{file}  (seed {image.seed})" if image.seed is not None else str(file))


def _encoding(output: Path | None) -> Encoding:
    if output is None:
        return Encoding.PNG
    encoding = _ENCODINGS.get(output.suffix.lower())
    if encoding is None:
        raise InvalidValue(f"The file {output} has no ending that is known.", param="output", allowed=list(_ENCODINGS))
    if not output.parent.is_dir():
        raise InvalidValue(f"There is no folder {output.parent}.", param="output")
    return encoding


def _save(picture: Painted, output: Path | None, index: int, count: int) -> Path:
    file = output or Path("pinxit.png" if picture.seed is None else f"pinxit-{picture.seed}.png")
    if output is not None and count > 1:
        file = output.with_stem(f"{output.stem}-{index + 1}")
    try:
        file.write_bytes(picture.data)
    except OSError as error:
        raise StartupError(f"The file {file} cannot be written: {error.strerror}.") from error
    return file


# --- painting in this process ---


async def _paint_here(settings: Settings, body: dict[str, Any], show: ShowProgress) -> Answer:
    """The same story as a server's, over the same data folder; a server may be running beside."""
    from pinxit.accounts import DEFAULT_ACCOUNT
    from pinxit.api.images import parse
    from pinxit.app import build
    from pinxit.keys.service import local_caller

    request = parse(body, settings, None, default_model="").request
    house = build(settings, owns_folder=False)
    await house.start()
    try:
        generation = await house.services.generations.create(
            local_caller(DEFAULT_ACCOUNT),
            request if "model" in body else replace(request, model=house.services.catalog.default_name),
            request_id=new_id("req"),
            on_progress=lambda progress: show(progress.step, progress.steps),
        )
    finally:
        await house.close(grace_seconds=0)
    pictures = tuple(Painted(image.data or b"", image.seed) for image in generation.images)
    return Answer(generation.id, generation.model, pictures, generation.far)


# --- asking a server ---


async def _ask_server(server: str, api_key: str | None, body: dict[str, Any], show: ShowProgress) -> Answer:
    import aiohttp

    from pinxit.api import familiarity

    if not api_key:
        raise InvalidValue("A server needs an API key: set PINXIT_API_KEY or --api-key.", param="api-key")
    generation_id = new_id("gen")
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    headers = {"Authorization": f"Bearer {api_key}"}
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            watching = asyncio.create_task(_watch(session, f"{server}/v1/generations/{generation_id}", show))
            try:
                async with session.post(
                    f"{server}/v1/images/generations", json=body, headers={"x-pinxit-generation": generation_id}
                ) as response:
                    content = await _content(response)
                    model = response.headers.get("x-pinxit-model", "")
                    far = familiarity.read_header_value(response.headers.get(familiarity.NAME, ""))
            finally:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise BackendUnavailable(
            f"The server {server} cannot be asked: {str(error) or type(error).__name__}."
        ) from error
    pictures = tuple(Painted(base64.b64decode(datum["b64_json"]), datum.get("seed")) for datum in content["data"])
    return Answer(generation_id, model, pictures, far)


async def _content(response: Any) -> dict[str, Any]:
    """The body of a good answer. Raises PinxitError with the server's own words."""
    content = await response.json(content_type=None)
    if not isinstance(content, dict):
        raise BackendError(f"The server answered {response.status} with something that is not Pinxit's.")
    if response.status != 200:
        error = content.get("error")
        said = error.get("message") if isinstance(error, dict) else None
        raise PinxitError(f"The server refused ({response.status}): {said or 'no reason given'}")
    return content


async def _watch(session: Any, url: str, show: ShowProgress) -> None:
    """Ask how far the order is until cancelled; before it has begun the server knows nothing of it."""
    while True:
        await asyncio.sleep(POLL_SECONDS)
        async with session.get(url) as response:
            if response.status == 200:
                progress = (await response.json()).get("progress")
                if progress:
                    show(progress["step"], progress["steps"])


class _ProgressBar:
    """A bar on standard error that counts inference steps; nothing at all where nobody looks."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("waking the painter", total=None)

    def __enter__(self) -> ShowProgress:
        self._bar.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _show(self, step: int, steps: int) -> None:
        self._bar.update(self._task, description="painting", completed=step, total=steps)
