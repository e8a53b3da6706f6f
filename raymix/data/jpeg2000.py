"""What the headers of a JPEG 2000 file may ask for: a few bytes of them can call for gigabytes of the decoder's tables.

Names as in ITU-T T.800, annex A.
"""

import struct

from raymix.data.limits import MAX_LAYERS, MAX_LEVELS, MAX_PRECINCTS, MAX_TILES, MIN_BLOCK
from raymix.errors import DataError

_START = b"\xff\x4f\xff\x51"  # SOC and SIZ
_SIZ, _COD, _COC, _SOT, _SOD, _EOC = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_OTHERS = (0xFF50, 0xFF55, 0xFF57, 0xFF58, 0xFF5C, 0xFF5D, 0xFF5E, 0xFF5F, 0xFF60, 0xFF61, 0xFF63, 0xFF64)
_TODO = "write it again, with usual settings"


def is_jpeg2000(data: bytes) -> bool:
    """Whether some bytes begin as such a file, or as its bare codestream."""
    return data.startswith((_START, b"\0\0\0\x0cjP  \r\n\x87\n"))


def require_modest(data: bytes, where: str) -> None:
    """Raises `DataError` for a file with very many or very small parts, in any of its headers, and for headers that
    decoders may understand in several ways."""
    if data.count(_START) != 1:
        raise DataError("holds no or several JPEG 2000 codestreams", where, _TODO)
    at, end_of_part, size_XY = data.index(_START) + 2, 0, (0, 0)
    while at + 4 <= len(data):
        marker, size = struct.unpack_from(">2H", data, at)
        body = data[at + 4 : at + 2 + size]
        if marker == _EOC:
            return
        if marker == _SOD and end_of_part > at:
            at = end_of_part
            continue
        if marker == _SOT:
            (length,) = struct.unpack_from(">I", body, 2)
            end_of_part = at + length if length else len(data)
        elif marker == _SIZ:
            _, X, Y, _, _, XT, YT, XTO, YTO = struct.unpack_from(">H8I", body)
            size_XY = X, Y
            _require(-(-(X - XTO) // XT) * -(-(Y - YTO) // YT) <= MAX_TILES, "too many tiles", where)
        elif marker == _COD:
            (layers,) = struct.unpack_from(">H", body, 2)
            _require(layers <= MAX_LAYERS, "too many layers", where)
            _require_few_parts(body[5:], bool(body[0] & 1), size_XY, where)
        elif marker == _COC:
            _require_few_parts(body[2:], bool(body[1] & 1), size_XY, where)
        else:
            _require(marker in _OTHERS, f"the marker {marker:04x} in its headers", where)
        at += 2 + size


def _require_few_parts(style: bytes, sizes_precincts: bool, size_XY: tuple[int, int], where: str) -> None:
    """Raises `DataError` for small code-blocks and many precincts; `style` begins with the number of levels (SPcod)."""
    levels, width, height = style[:3]
    _require(levels <= MAX_LEVELS, "too many levels", where)
    _require(width + 2 >= MIN_BLOCK and height + 2 >= MIN_BLOCK, "too small code-blocks", where)
    num = 0
    for level, exponents in enumerate(style[5 : 6 + levels] if sizes_precincts else b""):  # the coarsest comes first
        sides = [-(-each >> (levels - level)) for each in size_XY]
        num += -(-sides[0] >> (exponents & 15)) * -(-sides[1] >> (exponents >> 4))
    _require(num <= MAX_PRECINCTS, "too many precincts", where)


def _require(holds: bool, what: str, where: str) -> None:
    if not holds:
        raise DataError(f"has {what}", where, _TODO)
