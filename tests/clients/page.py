"""docs/clients.md, from what a run of all clients has shown."""

from registry import Client, clients

HEAD = """\
# Clients

Programs and libraries that were written for OpenAI, run against Pinxit as they are: only the address, the key and,
where one is asked for, the model are set. `make test-clients` installs each in an environment of its own, runs a
program with it against a real server, and writes this page; the programs are in [tests/clients](../tests/clients).

Some clients read pictures as `b64_json` without asking for that. They need a key that has them answered so, too, as
`pinxit keys create --delivery both` makes it; it suits all the others as well.

| client | version | key | what was exercised | passed |
| --- | --- | --- | --- | --- |
"""


def write_page(results: dict[str, dict[str, bool]]) -> str:
    """The page for the results of every client: name to exercise to whether it passed."""
    listed = [client for client in clients() if client.name in results]
    return HEAD + "".join(_row(client, results[client.name]) for client in listed) + "".join(map(_section, listed))


def _row(client: Client, passed: dict[str, bool]) -> str:
    failed = [what for what in client.exercises if not passed.get(what)]
    verdict = f"no: {', '.join(failed)}" if failed else "yes"
    anchor = client.title.lower().replace(" ", "-")
    key = "any" if client.delivery == "url" else f"`--delivery {client.delivery}`"
    versions = ", ".join(f"{package} {version}" for package, version in client.versions.items()) or "the system's"
    exercised = ", ".join(client.exercises)
    return f"| [{client.title}](#{anchor}) | {versions} | {key} | {exercised} | {verdict} |\n"


def _section(client: Client) -> str:
    return f"""
## {client.title}

{client.about}

<!-- not run: make test-clients does -->
```{client.language}
{client.configuration}
```
"""
