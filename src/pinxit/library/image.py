"""One stored picture."""

from dataclasses import dataclass, field
from datetime import datetime

from pinxit.images.request import Encoding
from pinxit.images.size import Size


@dataclass(frozen=True, slots=True)
class Image:
    """A picture and its facts. `seconds` is how long it took to paint; `data` is there only right after painting, and
    `base64` then if it came so.

    `storage_key` is empty for a picture that was not to be kept; `seed` is None where the painter has none.
    `url_expires_at` None: the name alone opens it.
    """

    id: str
    generation_id: str
    account_id: str
    position: int
    storage_key: str
    encoding: Encoding
    size: Size
    size_bytes: int
    sha256: str
    seed: int | None
    seconds: float
    created_at: datetime
    url_expires_at: datetime | None = None
    data: bytes | None = field(default=None, repr=False)
    base64: memoryview | None = field(default=None, repr=False)
