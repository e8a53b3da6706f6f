"""Turns what decoders raise into the one error that a user reads."""

from collections.abc import Iterator
from contextlib import contextmanager

from raymix.errors import DataError


@contextmanager
def reading(where: str, form: str, todo: str) -> Iterator[None]:
    """Everything raised inside becomes a `DataError` that says where, as what it was read, and what to do."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError("does not exist", where, "check the path") from None
    except PermissionError:
        raise DataError("may not be read", where, "check the permissions") from None
    except Exception as error:  # decoders of foreign bytes raise whatever they like (SyntaxError, TypeError, ...)
        raise DataError(f"cannot be read as {form} ({reason_of(error)})", where, todo) from error


def reason_of(error: Exception) -> str:
    """The start of what an error says, on one line."""
    return printable(next(iter(str(error).splitlines()), ""))[:160] or type(error).__name__


def printable(name: str) -> str:
    """A name out of a file as an error shows it: control characters and the like escaped."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in name)
