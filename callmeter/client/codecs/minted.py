"""What an answer must have and its wire does not give: ids and a time, derived from the call's own id.

Decoding stays a function of its inputs: the same bytes for the same call give the same answer.
"""

from hashlib import blake2b

from callmeter.types import Call


def completion_id(call: Call) -> str:
    """An answer's id for wires that have none."""
    return f"chatcmpl-{call.id}"


def created_s(call: Call) -> int:
    """When the call began, seconds since the epoch, as its id tells (see `IdSource`); 0 where the id is another's."""
    try:
        return int(call.id[:16], 16) // 1_000_000_000 if len(call.id) == 32 else 0
    except ValueError:
        return 0


def tool_call_id(call: Call, index: int) -> str:
    """The id of an answer's n-th tool call for wires that have none."""
    return "call_" + blake2b(f"{call.id}/{index}".encode(), digest_size=12).hexdigest()
