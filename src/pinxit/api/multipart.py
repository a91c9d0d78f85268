"""Reading a multipart/form-data body that has arrived whole: its texts and its files, within limits."""

from collections import defaultdict
from dataclasses import dataclass, field

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from pinxit.api.body import echo
from pinxit.errors import InvalidRequest

MAX_PARTS = 64
MAX_TEXT_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class File:
    """One part with a file name. The name itself is never used, and not kept."""

    field: str
    data: bytes


@dataclass(slots=True)
class Form:
    """What a form says: texts by their field's name, and files in the order they were sent."""

    texts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    files: list[File] = field(default_factory=list)


def parse_form(body: bytes, content_type: str) -> Form:
    """Read strictly: a part without a name, a text that is not UTF-8 or a body that is cut off is refused.

    Raises InvalidRequest.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not 1 <= len(boundary) <= 70:  # RFC 2046 §5.1.1
        raise InvalidRequest("The Content-Type multipart/form-data has no usable boundary.")
    form = Form()
    segment: MultipartSegment | None = None
    chunks: list[bytes] = []
    try:
        with PushMultipartParser(boundary, len(body), max_segment_count=MAX_PARTS, strict=True) as parser:
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    segment, chunks = event, []
                elif event is not None:
                    chunks.append(bytes(event))
                elif segment is not None:
                    _keep(form, segment, b"".join(chunks))
    except ParserLimitReached as error:
        raise InvalidRequest(f"The form has more than {MAX_PARTS} parts, or a part has too many headers.") from error
    except (MultipartError, UnicodeDecodeError, LookupError) as error:
        raise InvalidRequest("The request body is not a whole multipart/form-data form.") from error
    return form


def _keep(form: Form, segment: MultipartSegment, data: bytes) -> None:
    name = segment.name
    if not name:
        raise InvalidRequest("A part of the form has no name.")
    if segment.filename is not None:
        form.files.append(File(name, data))
        return
    if len(data) > MAX_TEXT_BYTES:
        raise InvalidRequest(f"'{echo(name)}' is longer than {MAX_TEXT_BYTES} bytes of text.", param=echo(name))
    try:
        form.texts[name].append(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"'{echo(name)}' is not UTF-8.", param=echo(name)) from error
