"""The wires of operations other than chat against their golden bytes, in both directions."""

import pytest

from callmeter.client.codecs import exists
from callmeter.client.operations import OPERATIONS
from tests.golden_cases import GOLDEN, Case, check, codec_named, load_cases, sent_body

NAMES = OPERATIONS.keys() - {"chat", "responses"}
"""Chat's own wires, of which the Responses API is one, are tried in `test_golden`."""

WIRES = [path.name for path in sorted(GOLDEN.iterdir()) if path.name.endswith(tuple(f"_{name}" for name in NAMES))]

cases = pytest.mark.parametrize(
    ("wire", "case"), [pytest.param(wire, case, id=f"{wire}-{case}") for wire in WIRES for case in load_cases(wire)]
)


@cases
def test_a_golden_answer_decodes_to_what_its_files_say(wire: str, case: Case) -> None:
    check(case, codec_named(wire))


@cases
def test_a_golden_call_is_sent_as_its_file_says(wire: str, case: Case) -> None:
    assert sent_body(case, codec_named(wire)) == case.request


@pytest.mark.parametrize("wire", WIRES)
def test_a_wire_takes_the_prompt_of_its_operation(wire: str) -> None:
    (operation,) = [operation for operation in OPERATIONS.values() if wire.endswith(f"_{operation.name}")]
    assert exists(wire)
    assert codec_named(wire).supported.issuperset(operation.prompt)
