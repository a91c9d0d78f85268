"""Rows of users, their sessions, and the links that people join by."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select
from sqlalchemy.exc import IntegrityError

from pinxit.accounts.user import Link, Role, User
from pinxit.database.tables import identities, join_links, user_sessions, users
from pinxit.errors import Conflict

# --- users ---


def insert_user(connection: Connection, user: User, password_hash: str | None) -> None:
    """Raises Conflict; the transaction must then be undone."""
    try:
        connection.execute(
            users.insert().values(
                id=user.id,
                account_id=user.account_id,
                name=user.name,
                role=user.role.value,
                password_hash=password_hash,
                created_at=user.created_at,
            )
        )
    except IntegrityError as error:
        raise Conflict("There is somebody with this name already.", param="name") from error


def any_user(connection: Connection) -> bool:
    return connection.execute(select(users.c.id).limit(1)).first() is not None


def find_user(connection: Connection, name: str) -> tuple[User, str | None] | None:
    """The user, and the hash of their password."""
    row = connection.execute(select(users).where(users.c.name == name)).first()
    return (_user(row), row.password_hash) if row else None


def list_users(connection: Connection) -> list[User]:
    return [_user(row) for row in connection.execute(select(users).order_by(users.c.created_at, users.c.id))]


def lock_admins(connection: Connection) -> int:
    """How many admins there are, which nobody else changes until the end of the transaction."""
    query = select(users.c.id).where(users.c.role == Role.ADMIN.value).order_by(users.c.id).with_for_update()
    return len(connection.execute(query).all())


def find_user_by_id(connection: Connection, user_id: str) -> User | None:
    row = connection.execute(select(users).where(users.c.id == user_id)).first()
    return _user(row) if row else None


def has_password(connection: Connection, user_id: str) -> bool:
    query = select(users.c.id).where(users.c.id == user_id, users.c.password_hash.is_not(None))
    return connection.execute(query).first() is not None


def set_password(connection: Connection, user_id: str, password_hash: str | None) -> None:
    connection.execute(users.update().where(users.c.id == user_id).values(password_hash=password_hash))


def set_role(connection: Connection, user_id: str, role: Role) -> None:
    connection.execute(users.update().where(users.c.id == user_id).values(role=role.value))


def delete_user(connection: Connection, user_id: str) -> None:
    delete_sessions(connection, user_id)
    connection.execute(users.delete().where(users.c.id == user_id))


# --- identities ---


def find_user_by_identity(connection: Connection, issuer: str, subject: str) -> User | None:
    row = connection.execute(
        select(users)
        .join(identities, identities.c.user_id == users.c.id)
        .where(identities.c.issuer == issuer, identities.c.subject == subject)
    ).first()
    return _user(row) if row else None


def has_identity(connection: Connection, user_id: str, issuer: str) -> bool:
    query = select(identities.c.user_id).where(identities.c.user_id == user_id, identities.c.issuer == issuer)
    return connection.execute(query).first() is not None


def insert_identity(connection: Connection, issuer: str, subject: str, user: User, now: datetime) -> None:
    """Raises Conflict; the transaction must then be undone."""
    try:
        connection.execute(
            identities.insert().values(
                issuer=issuer, subject=subject, user_id=user.id, account_id=user.account_id, created_at=now
            )
        )
    except IntegrityError as error:
        raise Conflict("Somebody signs in so already.") from error


def list_issuers(connection: Connection, user_id: str) -> list[str]:
    query = select(identities.c.issuer).where(identities.c.user_id == user_id).order_by(identities.c.created_at)
    return list(connection.execute(query).scalars())


# --- sessions ---


def insert_session(connection: Connection, token_sha256: str, user: User, now: datetime, expires_at: datetime) -> None:
    """Those that are over go on the way."""
    connection.execute(user_sessions.delete().where(user_sessions.c.expires_at <= now))
    connection.execute(
        user_sessions.insert().values(
            token_sha256=token_sha256,
            user_id=user.id,
            account_id=user.account_id,
            created_at=now,
            seen_at=now,
            expires_at=expires_at,
        )
    )
    connection.execute(users.update().where(users.c.id == user.id).values(signed_in_at=now))


def find_session(
    connection: Connection, token_sha256: str, now: datetime, seen_after: datetime
) -> tuple[User, datetime] | None:
    """Whose session it is, and when it was last seen; None if it is over."""
    row = connection.execute(
        select(users, user_sessions.c.seen_at)
        .join(user_sessions, user_sessions.c.user_id == users.c.id)
        .where(
            user_sessions.c.token_sha256 == token_sha256,
            user_sessions.c.expires_at > now,
            user_sessions.c.seen_at > seen_after,
        )
    ).first()
    return (_user(row), row.seen_at) if row else None


def touch_session(connection: Connection, token_sha256: str, now: datetime) -> None:
    connection.execute(user_sessions.update().where(user_sessions.c.token_sha256 == token_sha256).values(seen_at=now))


def count_sessions(connection: Connection, user_id: str, now: datetime) -> int:
    query = select(func.count()).where(user_sessions.c.user_id == user_id, user_sessions.c.expires_at > now)
    return connection.execute(query).scalar_one()


def delete_session(connection: Connection, token_sha256: str) -> User | None:
    """Whose it was; None if there is none."""
    gone = user_sessions.delete().where(user_sessions.c.token_sha256 == token_sha256).returning(user_sessions.c.user_id)
    user_id = connection.execute(gone).scalar_one_or_none()
    return None if user_id is None else find_user_by_id(connection, user_id)


def delete_sessions(connection: Connection, user_id: str) -> None:
    connection.execute(user_sessions.delete().where(user_sessions.c.user_id == user_id))


# --- links ---


def insert_link(connection: Connection, link: Link, token_sha256: str) -> None:
    connection.execute(
        join_links.insert().values(
            id=link.id,
            token_sha256=token_sha256,
            account_id=link.account_id,
            role=link.role.value,
            note=link.note,
            is_first=link.is_first,
            created_at=link.created_at,
            expires_at=link.expires_at,
        )
    )


def find_link(connection: Connection, token_sha256: str, now: datetime) -> Link | None:
    row = connection.execute(
        select(join_links).where(join_links.c.token_sha256 == token_sha256, join_links.c.expires_at > now)
    ).first()
    return _link(row) if row else None


def find_link_by_id(connection: Connection, link_id: str) -> Link | None:
    row = connection.execute(select(join_links).where(join_links.c.id == link_id)).first()
    return _link(row) if row else None


def take_link(connection: Connection, link_id: str) -> bool:
    """Whether it was still there; it is not any more."""
    return connection.execute(join_links.delete().where(join_links.c.id == link_id)).rowcount == 1


def list_links(connection: Connection, now: datetime) -> list[Link]:
    """The invitations that somebody may still join by, the newest first."""
    rows = connection.execute(
        select(join_links)
        .where(join_links.c.is_first.is_(False), join_links.c.expires_at > now)
        .order_by(join_links.c.created_at.desc(), join_links.c.id)
    )
    return [_link(row) for row in rows]


def delete_first_links(connection: Connection) -> None:
    connection.execute(join_links.delete().where(join_links.c.is_first.is_(True)))


def delete_old_links(connection: Connection, now: datetime) -> None:
    connection.execute(join_links.delete().where(join_links.c.expires_at <= now))


def _user(row: Row[Any]) -> User:
    return User(row.id, row.account_id, row.name, Role(row.role), row.created_at, row.signed_in_at)


def _link(row: Row[Any]) -> Link:
    return Link(row.id, row.account_id, Role(row.role), row.note, row.is_first, row.created_at, row.expires_at)
