"""What several commands share."""

import json
import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from pinxit.settings import Settings, load_settings

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration file; ./pinxit.yaml if it is there.", show_default=False),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the database and the pictures.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def settings_from(config: Path | None, *, is_server: bool = False, **flags: Any) -> Settings:
    """The settings with the flags that were given on top. Raises ConfigurationError.

    A command that is no server keeps its log lines to itself: its output is what was asked for, or one sentence.
    """
    from pinxit import logs

    settings = load_settings(config, overrides={name: value for name, value in flags.items() if value is not None})
    is_chatty = settings.log_level == "info" and not is_server
    logs.configure("critical" if is_chatty else settings.log_level, settings.log_format)
    return settings


def print_json(content: Any) -> None:
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2))


def utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def open_rows(settings: Settings) -> AsyncIterator[Any]:
    """The database of these settings, with its default account; a server may be running over it."""
    from pinxit import accounts, audit
    from pinxit.database.opening import open_database
    from pinxit.storage.folder import prepare_data_folder

    prepare_data_folder(settings.data_dir)
    database = open_database(settings)
    audit.become(audit.Origin(audit.Actor(audit.ActorKind.COMMAND, name=_system_user())))
    try:
        now = utc_now()
        await database.write(lambda connection: accounts.ensure_default(connection, now))
        yield database
    finally:
        await database.close()


def _system_user() -> str:
    """Who types, as the system knows them; their number if it has no name for them."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


@asynccontextmanager
async def key_service(settings: Settings) -> AsyncIterator[Any]:
    """The key service over the database of these settings; a running server notices changes within a second."""
    from pinxit.keys.service import KeyService

    async with open_rows(settings) as database:
        service = KeyService(database, now=utc_now)
        try:
            yield service
        finally:
            await service.close()
