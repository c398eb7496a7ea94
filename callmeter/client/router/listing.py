"""What a model group can do and costs, put together from what is known of its models."""

from collections.abc import Iterable, Sequence
from typing import Any

from callmeter.client.model_info import get_model_info
from callmeter.client.prices import base_model_of
from callmeter.client.resolve import get_llm_provider, get_supported_openai_params
from callmeter.client.router.members import Member
from callmeter.errors import BadRequestError, ModelNotMappedError
from callmeter.records import Record

LARGEST = ("max_input_tokens", "max_output_tokens", "input_cost_per_token", "output_cost_per_token")


def group_info(name: str, members: Sequence[Member]) -> Record:
    """The group's limits (the largest of its deployments'), prices (the dearest), abilities (all that any has)."""
    infos = [_info(member) for member in members]
    supported = {name: None for member in members for name in _params(member)}
    abilities = sorted({key for info in infos for key in info if key.startswith("supports_")})
    return Record(
        {
            "model_group": name,
            "providers": sorted({provider for member in members if (provider := _provider(member))}),
            **{key: max(_known(infos, key), default=None) for key in LARGEST},
            "mode": next(_known(infos, "mode"), "chat"),
            "tpm": _sum(member.tpm for member in members),
            "rpm": _sum(member.rpm for member in members),
            **{key: any(info.get(key) for info in infos) for key in abilities},
            "supported_openai_params": sorted(supported),
        }
    )


def _info(member: Member) -> dict[str, Any]:
    known: dict[str, Any] = {}
    try:
        known = get_model_info(base_model_of(member.params) or member.model, None)
    except (ModelNotMappedError, BadRequestError):
        pass
    said = {**member.params, **member.info}
    return {**known, **{key: value for key, value in said.items() if key in known or key in LARGEST or key == "mode"}}


def _known(infos: Iterable[dict[str, Any]], key: str) -> Any:
    return (info[key] for info in infos if info.get(key) is not None)


def _provider(member: Member) -> str | None:
    try:
        return get_llm_provider(member.model, member.params.get("custom_llm_provider"))[1]
    except BadRequestError:
        return None


def _params(member: Member) -> list[str]:
    return get_supported_openai_params(member.model, member.params.get("custom_llm_provider")) or []


def _sum(limits: Iterable[int | None]) -> int | None:
    known = [limit for limit in limits if limit is not None]
    return sum(known) if known else None
