"""Turns what decoders raise into the one error that a user reads."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from raymix.errors import DataError

_MOST_NAMES = 8


@contextmanager
def reading(where: object, form: str, todo: str) -> Iterator[None]:
    """Everything raised inside becomes a `DataError` that says where, as what it was read, and what to do."""
    place = printable(where)
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError("does not exist", place, "check the path") from None
    except PermissionError:
        raise DataError("may not be read", place, "check the permissions") from None
    except Exception as error:  # decoders of foreign bytes raise whatever they like (SyntaxError, TypeError, ...)
        raise DataError(f"cannot be read as {form} ({reason_of(error)})", place, todo) from error


def reason_of(error: Exception) -> str:
    """The start of what an error says, on one line and without addresses of objects."""
    text = re.sub(r"\s*<[^<>]* at 0x[0-9a-f]+>", "", next(iter(str(error).splitlines()), ""))
    return printable(text)[:160] or type(error).__name__


def printable(name: object) -> str:
    """A path, or a name out of a file, as an error shows it: control characters and the like escaped."""
    text = str(name)
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def listing(names: Iterable[object]) -> str:
    """Names as an error shows them: the first few, and how many more there are."""
    shown = [printable(name)[:100] for name in names]
    more = len(shown) - _MOST_NAMES
    return ", ".join(shown[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
