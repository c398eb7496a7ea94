"""Answers checked against the schema that `response_format` asks for, after they were accounted for."""

from collections.abc import Callable
from typing import Any

import msgspec

from callmeter.client.codecs.schemas import wanted
from callmeter.errors import BadRequestError, JSONSchemaValidationError, MissingExtraError, as_openai
from callmeter.shapes import Completion, Message

Check = Callable[[Completion], None]


def checker(response_format: Any) -> Check | None:
    """What raises `JSONSchemaValidationError` for an answer that breaks the schema; None where none is asked for.

    It is made before the call is sent, so that nothing is paid for in vain. Raises `MissingExtraError` where
    `jsonschema` is not installed and `BadRequestError` for a schema that is none.
    """
    asked = wanted(response_format)
    if asked is None:
        return None
    validate = _validator(asked.schema)

    def check(completion: Completion) -> None:
        for choice in completion.choices:
            if _answers(choice.message):
                _check(choice.message.content or "", validate, completion)

    return check


def _validator(schema: Any) -> Any:
    try:
        from jsonschema import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry
    except ImportError:
        raise MissingExtraError(
            "enable_json_schema_validation needs jsonschema: pip install 'callmeter[schema]'"
        ) from None
    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise BadRequestError(f"the schema of response_format is none: {error.message}") from None
    # An empty registry: a reference to another host is an error and not a request.
    return kind(schema, registry=Registry())


def _answers(message: Message) -> bool:
    """Whether the model wrote an answer, and did not call a tool or refuse instead."""
    return not message.tool_calls and not getattr(message, "refusal", None)


def _check(text: str, validator: Any, completion: Completion) -> None:
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        problem = best_match(validator.iter_errors(msgspec.json.decode(text)))
    except msgspec.DecodeError as error:
        raise _broken(f"it is not JSON ({error})", text, completion) from None
    except Unresolvable as error:
        raise BadRequestError(f"the schema of response_format refers to what is not in it: {error}") from None
    if problem is not None:
        raise _broken(f"{problem.json_path}: {problem.message}"[:500], text, completion)


def _broken(what: str, text: str, completion: Completion) -> Exception:
    hidden = getattr(completion, "_hidden_params", None) or {}
    error = JSONSchemaValidationError(
        f"the answer does not have the form that response_format asks for: {what}",
        llm_provider=hidden.get("custom_llm_provider") or "",
        model=completion.model or "",
    )
    error.raw_response = text
    return as_openai(error)
