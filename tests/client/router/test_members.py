"""Model lists: entries, ids, names, patterns and aliases."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.client.router.catalogue import Catalogue, aliases_of
from callmeter.client.router.members import LAST, Member, members_of
from callmeter.errors import ConfigError
from callmeter.types import Secret


def entry(name: str = "fast", model: str = "openai/gpt-4o", **params: object) -> dict:
    return {"model_name": name, "litellm_params": {"model": model, **params}}


def one(**params: object) -> Member:
    return members_of([entry(**params)])[0]  # type: ignore[arg-type]


def catalogue(*entries: dict, **aliases: object) -> Catalogue:
    return Catalogue(members_of(entries), aliases_of(aliases))


def test_an_entry_says_what_the_router_has_to_know() -> None:
    found = one(api_key="sk-1", order=1, weight=2, rpm="10", tpm=1_000, max_parallel_requests=3, tags=["a"], timeout=5)
    assert (found.order, found.weight, found.rpm, found.tpm, found.parallel, found.tags) == (
        1, 2.0, 10, 1_000, 3, {"a"},
    )  # fmt: skip
    assert found.params == {"api_key": Secret("sk-1"), "timeout": 5, "model_info": {"id": found.id}}
    assert one().order == LAST


def test_limits_may_stand_beside_the_arguments_as_older_lists_have_them() -> None:
    assert members_of([{**entry(), "rpm": 7, "tpm": 70}])[0].rpm == 7


def test_an_id_is_the_same_in_every_run_and_another_for_whatever_differs() -> None:
    assert one(api_key="sk-1", rpm=5).id == "5b2349a421a9762f9aef58e08c4fe0b3"
    assert one(rpm=5, api_key="sk-1").id == one(api_key="sk-1", rpm=5).id
    ids = {one(api_key="sk-1").id, one(api_key="sk-2").id, one(api_base="http://x").id, one(name="slow").id}
    assert len(ids) == 4
    assert members_of([{**entry(), "model_info": {"id": 7}}])[0].id == "7"


def test_an_id_does_not_depend_on_where_objects_are_in_memory() -> None:
    assert one(callbacks=[object()]).id == one(callbacks=[object()]).id
    assert one(azure_ad_token_provider=lambda: "a").id.isalnum()


def test_two_entries_that_are_the_same_are_two_deployments() -> None:
    first, second = members_of([entry(), entry()])
    assert second.id == f"{first.id}-2"
    assert second.params["model_info"]["id"] == second.id


def test_a_value_may_stand_in_an_environment_variable(caplog: pytest.LogCaptureFixture) -> None:
    written = [entry(api_key="os.environ/MY_KEY", api_base="os.environ/NOT_SET")]
    found = members_of(written, environ={"MY_KEY": "sk-9"})[0]
    assert found.params["api_key"] == Secret("sk-9")
    assert "api_base" not in found.params
    assert "NOT_SET" in caplog.text
    assert found.id == members_of(written, environ={"MY_KEY": "sk-10"})[0].id


def test_credentials_are_hidden_where_entries_are_listed() -> None:
    shown = one(model="bedrock/x", api_key="sk-1", aws_secret_access_key="secret", rpm=3).shown()
    assert "sk-1" not in repr(shown)
    assert "'secret'" not in repr(shown)
    assert shown["litellm_params"]["rpm"] == 3
    assert shown["litellm_params"]["api_key"].reveal() == "sk-1"


class Params:
    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


def test_objects_are_entries_too() -> None:
    given = Params(model_name="g", litellm_params=Params(model="openai/gpt-4o", rpm=None), model_info=Params(id="x"))
    assert (members_of([given])[0].id, members_of([given])[0].rpm) == ("x", None)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"litellm_params": {"model": "openai/x"}}, r"model_list\[0\] has no model_name"),
        ({"model_name": "g"}, r"model_list\[0\] \('g'\) has no litellm_params.model"),
        (entry(rpm="ten"), "rpm is 'ten'; it takes a whole number"),
        (entry(rpm=-1), "rpm is -1"),
        (entry(rpm=1.5), r"rpm is 1.5; it takes a whole number"),
        (entry(weight=float("nan")), "weight is nan"),
        (entry(max_parallel_requests=0), "max_parallel_requests is 0; it takes a whole number of at least 1"),
        (entry(cooldown_time="soon"), "cooldown_time is 'soon'"),
        (7, "7 is no entry of a model list"),
    ],
)
def test_an_entry_that_cannot_be_is_named_with_what_is_wrong(bad: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        members_of([bad])


def test_a_wrong_entry_can_be_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert [m.group for m in members_of([entry(rpm="ten"), entry("good")], skip_invalid=True)] == ["good"]
    assert "rpm is 'ten'" in caplog.text


def test_a_name_is_a_group_an_alias_an_id_a_pattern_or_a_model() -> None:
    found = catalogue(
        {**entry("g"), "model_info": {"id": "x1"}},
        entry("openai/*", "openai/*"),
        entry("solo", "anthropic/claude-sonnet-4-5"),
        alias="g",
        hidden={"model": "g", "hidden": True},
    )
    assert [m.id for m in found.pool("g").members] == ["x1"]  # type: ignore[union-attr]
    assert found.pool("alias") == found.pool("hidden") == found.pool("g")
    assert found.pool("x1").group == "g"  # type: ignore[union-attr]
    assert found.pool("openai/o3").members[0].model == "openai/o3"  # type: ignore[union-attr]
    assert found.pool("anthropic/claude-sonnet-4-5").group == "solo"  # type: ignore[union-attr]
    assert found.pool("nobody") is None
    assert found.names() == ["g", "openai/*", "solo", "alias"]


@pytest.mark.parametrize(
    ("pattern", "model", "asked", "expected"),
    [
        ("openai/*", "openai/*", "openai/gpt-4o", "openai/gpt-4o"),
        ("*", "openai/*", "gpt-4o", "openai/gpt-4o"),
        ("*", "openai/*", "openai/gpt-4o", "openai/gpt-4o"),
        ("*", "*", "anthropic/claude", "anthropic/claude"),
        ("*", "openai/gpt-4o", "whatever", "openai/gpt-4o"),
        ("bedrock-*-eu", "bedrock/eu.*", "bedrock-nova-eu", "bedrock/eu.nova"),
        ("fo::*:static::*", "openai/fo::*:static::*", "fo::hi:static::ho", "openai/fo::hi:static::ho"),
        ("gateway/*-chat", "openai/*-chat", "gateway/demo-chat-extra", None),
        ("openai/*", "openai/*", "anthropic/claude", None),
        ("a.c", "openai/x", "abc", None),
    ],
)
def test_a_pattern_fills_its_model(pattern: str, model: str, asked: str, expected: str | None) -> None:
    pool = catalogue(entry(pattern, model)).pool(asked)
    assert (None if pool is None else pool.members[0].model) == expected
    if pool is not None:
        assert pool.group == pattern


def test_the_pattern_that_says_most_wins_and_a_name_wins_over_all() -> None:
    found = catalogue(
        entry("*", "openai/any-*"), entry("openai/*", "openai/*"), entry("openai/gpt-*", "azure/gpt-*"),
        entry("openai/gpt-9", "openai/gpt-9"),
    )  # fmt: skip
    assert [found.pool(name).members[0].model for name in ("openai/gpt-9", "openai/gpt-4", "openai/o3", "x")] == [  # type: ignore[union-attr]
        "openai/gpt-9", "azure/gpt-4", "openai/o3", "openai/any-x",
    ]  # fmt: skip


@given(st.text(st.characters(exclude_characters="*"), max_size=20), st.text(max_size=20))
def test_a_pattern_takes_exactly_the_names_that_begin_and_end_as_it_does(ends: str, middle: str) -> None:
    found = Catalogue(members_of([entry(f"{ends}*{ends}x", "openai/*")]))
    assert found.pool(f"{ends}{middle}{ends}x").members[0].model == f"openai/{middle.removeprefix('openai/')}"  # type: ignore[union-attr]
    assert found.pool(f"{ends}{middle}{ends}") is None or f"{ends}{middle}{ends}".endswith(f"{ends}x")


def test_names_that_a_pattern_matched_are_not_kept_without_end() -> None:
    found = catalogue(entry("openai/*", "openai/*"))
    for at in range(3_000):
        found.pool(f"openai/{at}")
    assert len(found._matched) <= 1_000


def test_an_alias_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model_group_alias\['a'\] is 7"):
        aliases_of({"a": 7})
