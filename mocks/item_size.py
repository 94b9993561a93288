"""The size of an item as DynamoDB counts it, and what may be in one.

Source: Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats" and "Quotas in Amazon
DynamoDB".
"""

import math
from typing import Any

from aggsvc.errors import InvalidRequest, ItemTooLarge
from aggsvc.ports import Item

MAX_ITEM = 400 * 1024
MAX_DEPTH = 32


def check_size(item: Item, key: str) -> None:
    """Raise ItemTooLarge above MAX_ITEM bytes, InvalidRequest for what is not JSON."""
    size = sum(text_size(name) + _size(value, 1) for name, value in item.items())
    if size > MAX_ITEM:
        raise ItemTooLarge(f"the item {key} has {size} bytes; at most {MAX_ITEM} are allowed")


def _size(value: Any, depth: int) -> int:
    """The value's bytes by DynamoDB's rule; raises InvalidRequest for one that is not JSON."""
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"an item may nest {MAX_DEPTH} levels deep, not more")
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, str):
        return text_size(value)
    if isinstance(value, int | float):
        return _number_size(value)
    if isinstance(value, list):
        return 3 + sum(1 + _size(element, depth + 1) for element in value)
    if isinstance(value, dict):
        parts = value.items()
        return 3 + sum(1 + text_size(name) + _size(part, depth + 1) for name, part in parts)
    raise InvalidRequest(f"an item has JSON values only, not {type(value).__name__}")


def text_size(text: Any) -> int:
    """The bytes of the text in UTF-8; raises InvalidRequest."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise InvalidRequest("text with a lone surrogate is no UTF-8") from None
    except AttributeError:
        raise InvalidRequest(f"names in an item must be text, not {text!r}") from None


def _number_size(number: float) -> int:
    if isinstance(number, int):
        if not -(2**63) <= number < 2**64:
            raise InvalidRequest("an integer in an item must fit 64 bits")
    elif not math.isfinite(number):
        raise InvalidRequest(f"A number in an item must be finite, not {number}")
    digits = repr(abs(number)).split("e")[0].replace(".", "").strip("0")
    return (len(digits) + 1) // 2 + 1 + (number < 0)
