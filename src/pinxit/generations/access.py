"""With whose credential an order is sent to a backend far away, and what that makes it cost."""

from collections.abc import Sequence
from dataclasses import replace

from pinxit.backends.interface import Credential
from pinxit.catalog.entry import CheckedOrder
from pinxit.credentials.service import CredentialService
from pinxit.errors import BackendUnavailable, CredentialMissing

Ways = tuple[CheckedOrder, ...]
"""One order at one backend with each credential that it may be sent with, in the order in which they are tried."""


def is_own(order: CheckedOrder) -> bool:
    """Whether it is painted with a credential of its account."""
    return order.paint.credential is not None and order.paint.credential.is_own


def credential_of(order: CheckedOrder) -> dict[str, str]:
    """What the record says of it."""
    return {"credential": "own"} if is_own(order) else {}


class Accesses:
    """`fee_percent`: what an account pays of the price for what it has painted with a credential of its own."""

    def __init__(self, credentials: CredentialService, *, fee_percent: float = 0.0) -> None:
        self._credentials = credentials
        self._fee_percent = fee_percent

    def ways(self, account_id: str, offers: Sequence[CheckedOrder]) -> list[Ways]:
        """Of each offer, those that there are; offers without one are left out. Raises CredentialMissing if all are."""
        found = [ways for offer in offers if (ways := self._ways(account_id, offer))]
        if not found:
            backend = offers[0].entry.backend
            raise CredentialMissing(
                f"{offers[0].entry.id} is painted by {backend}, for which this server has no credential: give one of "
                "your own, under Credentials in the console.",
                param="model",
            )
        return found

    def _ways(self, account_id: str, offer: CheckedOrder) -> Ways:
        access = self._credentials.find(offer.entry.backend, account_id)
        if access is None:
            return (offer,)
        own = () if access.own is None else (self._with_own(offer, access.own),)
        if not access.has_house or not access.may_fall_back:
            return own
        return (*own, _sent_with(offer, access.house))

    def again(self, account_id: str, order: CheckedOrder, *, was_own: bool) -> CheckedOrder:
        """An order of an earlier process, at the price of that time, with the credential that it was to be sent with.

        Raises BackendUnavailable if there is none any more.
        """
        credential = self.credential(account_id, order.entry.backend, own=was_own)
        if was_own and credential is None:
            raise BackendUnavailable("Your own credential for this order was removed. Nothing was charged.")
        return _sent_with(order, credential)

    def credential(self, account_id: str, backend: str, *, own: bool) -> Credential | None:
        """What to show the backend for the account: its own credential or the house's; None: the backend's, or none."""
        access = self._credentials.find(backend, account_id)
        if access is None:
            return None
        return access.own if own else access.house

    def _with_own(self, offer: CheckedOrder, own: Credential) -> CheckedOrder:
        fee = round(offer.price_micros_per_image * self._fee_percent / 100)
        return replace(_sent_with(offer, own), price_micros_per_image=fee)


def _sent_with(offer: CheckedOrder, credential: Credential | None) -> CheckedOrder:
    return offer if credential is None else replace(offer, paint=replace(offer.paint, credential=credential))
