"""Server-sent events out of bytes as they come (https://html.spec.whatwg.org/multipage/server-sent-events.html, section
"Interpreting an event stream", 2026-11-22). No I/O.
"""


class EventReader:
    """Gives the data of each event once its last byte is there; names, ids and comments are passed over. Lines end with
    LF or CRLF. How much may come in all, whoever reads the bytes decides.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._searched = 0
        """So many of them are known to hold no end of a line."""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The events that end in this piece; the start of a further one is kept."""
        self._bytes += piece
        found: list[bytes] = []
        begin = 0
        while (end := self._bytes.find(b"\n", max(begin, self._searched))) >= 0:
            self._take(begin, end, found)
            begin = end + 1
        del self._bytes[:begin]
        self._searched = len(self._bytes)
        return found

    def _take(self, begin: int, end: int, found: list[bytes]) -> None:
        """One line, without its LF."""
        if end > begin and self._bytes[end - 1] == 0x0D:
            end -= 1
        if end == begin:
            if self._data:
                found.append(b"\n".join(self._data))
                self._data = []
        elif self._bytes.startswith(b"data:", begin, end):
            start = begin + (6 if self._bytes.startswith(b"data: ", begin, end) else 5)
            with memoryview(self._bytes) as whole:
                self._data.append(bytes(whole[start:end]))
