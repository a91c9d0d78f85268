"""OpenAI's image models in Microsoft's Azure.

Special: `base_url` is the operator's resource, such as `https://name.openai.azure.com`; the key goes into the header
`api-key`; a model is called by its deployment's name, which is the model's own unless `options.deployments` says
otherwise (`{gpt-image-2: painter}`). With a date as `options.api_version` the paths are those of the deployment;
without one, or with `preview`, those of the v1 API. A refusal's code is `contentFilter`, or OpenAI's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from pinxit.backends.interface import PaintOrder
from pinxit.backends.upstream._openai_dialect import edit_call
from pinxit.backends.upstream._provider import Access, Answer, Call, UpstreamModel
from pinxit.backends.upstream.openai import (
    GPT_IMAGE_1_5,
    GPT_IMAGE_1_MINI,
    GPT_IMAGE_2,
    GPT_IMAGE_2_5,
    OpenAI,
    gpt_image,
)
from pinxit.errors import BackendUnavailable, ConfigurationError, PinxitError


class AzureOpenAI(OpenAI):
    """Tokens, and so pictures, cost what they cost at OpenAI."""

    name = "azure_openai"
    title = "Azure OpenAI"
    documentation = (
        "https://learn.microsoft.com/en-us/azure/ai-services/openai/how-to/dall-e (2026-11-22)",
        "https://github.com/MicrosoftDocs/azure-ai-docs, commit 29ee1a2 (2026-11-22)",
        "openai 3.54.0, openai/lib/azure.py (2026-11-22)",
        "litellm 1.109.1, model prices (2026-11-22)",
    )
    base_url = ""
    credential_variable = "AZURE_OPENAI_API_KEY"
    free_call: ClassVar[Call | None] = None
    option_names = frozenset({"api_version", "deployments"})
    models: ClassVar[Sequence[UpstreamModel]] = (
        gpt_image("gpt-image-2.5-flare", "GPT Image 2.5 Flare, the fast one.", 1_788_825_600, GPT_IMAGE_2_5),
        gpt_image("gpt-image-2.5-sunburst", "GPT Image 2.5 Sunburst, the precise one.", 1_788_825_600, GPT_IMAGE_2_5),
        gpt_image("gpt-image-2", "GPT Image 2.", 1_776_729_600, GPT_IMAGE_2, transparent=False),
        gpt_image(
            "gpt-image-1.5",
            "GPT Image 1.5.",
            1_765_843_200,
            GPT_IMAGE_1_5,
            {"text": 5.0, "image": 8.0, "painted": 32.0},
        ),
        gpt_image(
            "gpt-image-1-mini",
            "GPT Image 1 mini.",
            1_759_708_800,
            GPT_IMAGE_1_MINI,
            {"text": 2.0, "image": 2.5, "painted": 8.0},
        ),
    )

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._version = str(access.options.get("api_version", ""))
        self._deployments = access.options.get("deployments", {})
        if not isinstance(self._deployments, Mapping):
            raise ConfigurationError("options.deployments is a mapping of models to deployments.")

    def authorise(self) -> Mapping[str, str]:
        return {"api-key": self.access.credential}

    def call(self, order: PaintOrder, fields: Mapping[str, Any]) -> Call:
        if order.asked.images:
            return edit_call(self._path(order.model, "edits"), fields, order)
        return Call("POST", self._path(order.model, "generations"), json=fields)

    def fields(self, order: PaintOrder) -> dict[str, Any]:
        fields = super().fields(order)
        fields["model"] = self._deployment(order.model)
        if "safety_identifier" in fields:  # Azure knows the older name
            fields["user"] = fields.pop("safety_identifier")
        if fields.get("moderation") == "auto":
            del fields["moderation"]
        return fields

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        if answer.status == 404:
            return BackendUnavailable(f"{self.title} has no such deployment or API version. Nothing was charged.")
        return super().read_error(answer, order)

    def _deployment(self, model_id: str) -> str:
        return str(self._deployments.get(model_id, model_id))

    def _path(self, model_id: str, action: str) -> str:
        query = f"?api-version={quote(self._version, safe='')}" if self._version else ""
        if self._version[:1].isdecimal():
            return f"/openai/deployments/{quote(self._deployment(model_id), safe='')}/images/{action}{query}"
        return f"/openai/v1/images/{action}{query}"
