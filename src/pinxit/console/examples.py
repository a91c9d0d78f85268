"""How to ask for a picture: the same order for curl, Python and JavaScript."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

KEY_GOES_HERE = "<API_KEY>"


def calls(base: str, order: Mapping[str, Any], key: str = KEY_GOES_HERE) -> list[tuple[str, str]]:
    """Name and text of each; all three can be pasted and run as they are, once the key is in them."""
    return [
        ("curl", curl(base, order, key)),
        ("Python", python(base, order, key)),
        ("JavaScript", script(base, order, key)),
    ]


def curl(base: str, order: Mapping[str, Any], key: str) -> str:
    return (
        f"curl {base}/v1/images/generations \\\n"
        f'  -H "Authorization: Bearer {key}" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d {shlex.quote(json.dumps(dict(order), ensure_ascii=False))}"
    )


def python(base: str, order: Mapping[str, Any], key: str) -> str:
    fields = "".join(f"    {name}={value!r},\n" for name, value in order.items())
    return (
        "from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{base}/v1", api_key="{key}")\n'
        f"answer = client.images.generate(\n{fields})\n"
        "print(answer.data[0].url)"
    )


def script(base: str, order: Mapping[str, Any], key: str) -> str:
    body = json.dumps(dict(order), ensure_ascii=False, indent=2).replace("\n", "\n  ")
    return (
        f'const answer = await fetch("{base}/v1/images/generations", {{\n'
        '  method: "POST",\n'
        f'  headers: {{ "Authorization": "Bearer {key}", "Content-Type": "application/json" }},\n'
        f"  body: JSON.stringify({body}),\n"
        "});\n"
        "console.log((await answer.json()).data[0].url);"
    )
