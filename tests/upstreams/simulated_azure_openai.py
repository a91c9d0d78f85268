"""Azure OpenAI's Images API: OpenAI's, with Azure's addresses, key header and errors.

Read on 2026-11-22: Microsoft's how-to "Azure OpenAI image generation models" (in copies, as of the spring of 2026), the
commit MicrosoftDocs/azure-ai-docs 29ee1a2 to the REST reference, `openai` 3.54.0 (`lib/azure.py`), LiteLLM 1.109.1's
list of models and retirement dates.

Run once against `openai` 3.54.0's `AzureOpenAI`, generations and edits.

The refusal is the documented one; what OpenAI's own API says, `moderation_blocked`, is publicly reported from Azure as
well: `refuses_like_openai`. Not found, and so chosen here: the messages of a rate limit and an outage, which
api-versions are accepted (any with a date, and `preview` for v1).
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web
from simulated import Outcome
from simulated_openai import SimulatedOpenai


class SimulatedAzureOpenai(SimulatedOpenai):
    """Serves `{url}/openai/deployments/{deployment}` and `{url}/openai/v1`; a deployment is called like its model."""

    name = "azure_openai"
    documentation = (
        "https://learn.microsoft.com/en-us/azure/ai-services/openai/how-to/dall-e (in copies; 2026-11-22)",
        "https://github.com/MicrosoftDocs/azure-ai-docs, commit 29ee1a2 (2026-11-22)",
        "openai 3.54.0, openai/lib/azure.py (2026-11-22)",
    )
    models = ("gpt-image-2.5-sunburst", "gpt-image-2.5-flare", "gpt-image-2", "gpt-image-1.5", "gpt-image-1-mini")
    edits = models
    impossible: ClassVar[Mapping[Outcome, str]] = {
        **SimulatedOpenai.impossible,
        Outcome.NO_CREDIT: "a subscription is billed afterwards; a disabled one is answered like a wrong key",
    }

    def __init__(self) -> None:
        super().__init__()
        self.refuses_like_openai = False

    def routes(self) -> Sequence[web.RouteDef]:
        deployment = "/openai/deployments/{deployment}/images"
        return [
            web.post(f"{deployment}/generations", self.generate),
            web.post(f"{deployment}/edits", self.edit),
            web.post("/openai/v1/images/generations", self.generate),
            web.post("/openai/v1/images/edits", self.edit),
        ]

    def unauthorised(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if given != self.credential:
            message = (
                "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key "
                "for an active subscription and use a correct regional API endpoint for your resource."
            )
            return self.azure_error(401, "401", message)
        version = request.query.get("api-version")
        if "deployment" in request.match_info and (version is None or not version[:4].isdecimal()):
            return self.azure_error(404, "404", "Resource not found")
        return None

    def asked_for(self, request: web.Request, body: Mapping[str, Any]) -> str:
        return request.match_info.get("deployment") or super().asked_for(request, body)

    def no_such_model(self, request: web.Request, body: Mapping[str, Any]) -> web.Response | None:
        if self.asked_for(request, body) in self.models:
            return None
        message = (
            "The API deployment for this resource does not exist. If you created the deployment within the last 5 "
            "minutes, please wait a moment and try again."
        )
        return self.azure_error(404, "DeploymentNotFound", message)

    def go_wrong(self, body: Mapping[str, Any]) -> web.Response:
        match self.outcome:
            case Outcome.RATE_LIMIT:
                message = "Requests have exceeded the rate limit of your pricing tier. Please retry after 2 seconds."
                return self.azure_error(429, "429", message, {"retry-after": "2", "retry-after-ms": "2000"})
            case Outcome.OUTAGE:
                return self.azure_error(503, "ServiceUnavailable", "The service is temporarily unable to process it.")
            case _:
                return super().go_wrong(body)

    def refusal(self) -> web.Response:
        if self.refuses_like_openai:
            return super().refusal()
        error = {"code": "contentFilter", "message": "Your task failed as a result of our safety system."}
        return web.json_response({"created": int(time.time()), "error": error}, status=400)

    def azure_error(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> web.Response:
        told = {"apim-request-id": "00000000-0000-0000-0000-000000000000", **(headers or {})}
        return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=told)
