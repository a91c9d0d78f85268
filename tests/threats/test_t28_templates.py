"""T28: a prompt is data: no template, no shell, no format string ever looks into it."""

import pytest

from front import Front
from pinxit.database.tables import generations

PROMPTS = [
    "{{7*7}}",
    "{{ config.items() }}",
    "${7*7}",
    "${jndi:ldap://127.0.0.1/a}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{% raw %}x",
    "%s%n%x%d",
    "%(prompt)s",
    "{0.__class__}",
    "{self}",
    "{prompt!r:>100000000}",
    "$(id)",
    "`id`",
    "; id | cat /etc/passwd &",
    "--help",
    "-rf /",
    "\\x41\\u0041\\n",
    "&lt;b&gt; <script>alert(1)</script>",
    "a\tb\r\nc",
    "\u202eotter\u2066",
    "e\u0301 é",  # not normalised either
    "  an otter  ",
    "%2e%2e%2f+&=",
    "'\"\\",
    "🦦‍👨‍👩‍👧",
    "\ufffe\uffff\U0010ffff",
    "lo-ra:<lora:x:1>",
]


@pytest.mark.parametrize("prompt", PROMPTS, ids=ascii)
async def test_a_prompt_reaches_the_painter_as_it_was(front: Front, prompt: str):
    response = await front.generate(prompt=prompt, negative_prompt=prompt)
    assert response.status_code == 200
    (order,) = front.backend.orders
    assert order.prompt.encode() == prompt.encode()
    assert (order.negative_prompt or "").encode() == prompt.encode()
    (row,) = await front.rows(generations)
    assert row.prompt == prompt
    image = await front.client.get(f"/v1/images/{response.json()['data'][0]['id']}", headers=front.authorization)
    assert image.json()["prompt"] == prompt
