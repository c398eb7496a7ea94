"""Models and addresses on Amazon's clouds: what a name says beside the model, where it leads, and what it costs."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import callmeter
from callmeter.client.codecs import load
from callmeter.client.prices import cost_of
from callmeter.client.providers import BY_NAME
from callmeter.client.resolve import deployment
from callmeter.errors import BadRequestError
from callmeter.pricing import default_book
from callmeter.types import Call, Deployment, Usage

AT = 1_790_000_000_000_000_000
CALL = Call(id="c", operation="chat", model="m", messages=[{"role": "user", "content": "Hi"}])
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-lite-v1:0"
ACCOUNT = "arn:aws:bedrock:eu-central-1:123456789012"


def where(model: str, provider: str = "bedrock", environ: dict[str, str] | None = None, **given: Any) -> Deployment:
    named = {"aws_access_key_id": "AK", "aws_secret_access_key": "s", **given}
    apart = {name: named.pop(name) for name in ("api_base", "base_model") if name in named}
    nowhere = {"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    return deployment(BY_NAME[provider], model, given=named, environ={**nowhere, **(environ or {})}, **apart)


def url(place: Deployment, **call: Any) -> str:
    return load(place.codec).request(replace(CALL, **call), place).url


def total(place: Deployment) -> Decimal | None:
    """What a thousand tokens in cost there."""
    return cost_of(default_book(), place, Usage(input_tokens=1000), at_ns=AT, service_tier=None).total


NAMES = {
    NOVA: ("bedrock", NOVA, "us-east-1", ""),
    f"converse/{NOVA}": ("bedrock", NOVA, "us-east-1", ""),
    f"invoke/us.{CLAUDE}": ("anthropic_bedrock", f"us.{CLAUDE}", "us-east-1", ""),
    f"us-west-2/{NOVA}": ("bedrock", NOVA, "us-west-2", ""),
    f"us-gov-west-1/invoke/{CLAUDE}": ("anthropic_bedrock", CLAUDE, "us-gov-west-1", ""),
    f"converse/ap-southeast-2/{NOVA}": ("bedrock", NOVA, "ap-southeast-2", ""),
    f"arn:aws:bedrock:eu-west-1::foundation-model/{NOVA}": ("bedrock", None, "eu-west-1", NOVA),
    f"{ACCOUNT}:inference-profile/eu.{CLAUDE}": ("bedrock", None, "eu-central-1", f"eu.{CLAUDE}"),
    f"invoke/{ACCOUNT}:inference-profile/eu.{CLAUDE}": ("anthropic_bedrock", f"{ACCOUNT}:inference-profile/eu.{CLAUDE}", "eu-central-1", f"eu.{CLAUDE}"),
    f"{ACCOUNT}:application-inference-profile/a0b1c2": ("bedrock", None, "eu-central-1", ""),
    f"{ACCOUNT}:imported-model/a0b1c2d3e4f5": ("bedrock", None, "eu-central-1", ""),
    f"{ACCOUNT}:provisioned-model/a0b1c2d3e4f5": ("bedrock", None, "eu-central-1", ""),
    "of/nobody": ("bedrock", "of/nobody", "us-east-1", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_says_the_wire_the_model_the_region_and_whose_price_holds(name: str) -> None:
    codec, model, region, base_model = NAMES[name]
    place = where(name)
    assert (place.codec, place.model, place.region, place.base_model) == (codec, model or name, region, base_model)
    assert place.api_base == f"https://bedrock-runtime.{region}.amazonaws.com"


def test_a_name_is_one_segment_of_the_path_whatever_is_in_it() -> None:
    base = "https://bedrock-runtime.eu-central-1.amazonaws.com/model"
    profile = f"{ACCOUNT}:application-inference-profile/a0b1c2"
    quoted = "arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Aapplication-inference-profile%2Fa0b1c2"
    assert url(where(profile)) == f"{base}/{quoted}/converse"
    assert url(where(profile), stream=True) == f"{base}/{quoted}/converse-stream"
    claude = where(f"invoke/{profile}")
    assert url(claude) == f"{base}/{quoted}/invoke"
    assert url(claude, stream=True) == f"{base}/{quoted}/invoke-with-response-stream"


def test_model_id_is_what_is_called_and_the_model_what_it_costs() -> None:
    place = where(CLAUDE, model_id="arn:aws:bedrock:us-east-1:1:provisioned-model/x")
    assert "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aprovisioned-model%2Fx/converse" in url(place)
    assert total(place) == total(where(CLAUDE)) is not None


def test_an_argument_outranks_the_name_and_that_the_environment() -> None:
    environ = {"AWS_REGION": "sa-east-1"}
    assert where(NOVA, environ=environ).region == "sa-east-1"
    assert where(f"us-west-2/{NOVA}", environ=environ).region == "us-west-2"
    assert where(f"us-west-2/{NOVA}", environ=environ, aws_region_name="eu-west-3").region == "eu-west-3"


def test_a_profile_s_region_holds_where_nobody_says_another(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\nregion = eu-north-1\n[profile far]\nregion = ap-east-1\n")
    environ = {"AWS_CONFIG_FILE": str(tmp_path / "config")}
    assert where(NOVA, environ=environ).region == "eu-north-1"
    assert where(NOVA, environ=environ | {"AWS_PROFILE": "far"}).region == "ap-east-1"
    assert where(NOVA, environ=environ, aws_profile_name="far").region == "ap-east-1"
    assert where(NOVA, environ=environ | {"AWS_REGION": "us-east-2"}).region == "us-east-2"


ADDRESSES = {
    "https://bedrock-runtime.us-gov-west-1.amazonaws.com": "us-gov-west-1",
    "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com/": "us-gov-west-1",
    "https://vpce-0a1b-2c3d.bedrock-runtime.eu-west-1.vpce.amazonaws.com": "eu-west-1",
    "https://bedrock-runtime.ap-south-1.api.aws": "ap-south-1",
    "https://bedrock-runtime.cn-north-1.amazonaws.com.cn": "cn-north-1",
}


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("by", ["api_base", "aws_bedrock_runtime_endpoint", "AWS_BEDROCK_RUNTIME_ENDPOINT"])
def test_an_address_of_amazon_s_own_tells_its_region_and_has_its_prices(address: str, by: str) -> None:
    place = where(NOVA, environ={by: address}) if by.isupper() else where(NOVA, **{by: address})
    assert (place.api_base, place.region) == (address, ADDRESSES[address])
    assert total(place) is not None


def test_anybody_s_address_has_nobody_s_prices_and_the_region_that_is_set() -> None:
    place = where(NOVA, api_base="https://gateway.example/bedrock/", environ={"AWS_REGION": "eu-west-2"})
    assert place.region == "eu-west-2"
    assert url(place) == "https://gateway.example/bedrock/model/amazon.nova-lite-v1%3A0/converse"
    assert total(place) is None


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("cn-northwest-1", "runtime.sagemaker.cn-northwest-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "runtime.sagemaker.eusc-de-east-1.amazonaws.eu"),
        ("us-gov-east-1", "runtime.sagemaker.us-gov-east-1.amazonaws.com"),
    ],
)
def test_a_region_of_another_partition_has_its_own_host(region: str, host: str) -> None:
    assert where("e", "sagemaker", aws_region_name=region).api_base == f"https://{host}"


PRICES = {
    f"us.{CLAUDE}": "3.3",
    f"global.{CLAUDE}": "3",
    f"us-gov-west-1/us-gov.{CLAUDE}": "3.6",
    f"invoke/us.{CLAUDE}": "3.3",
    f"arn:aws:bedrock:us-east-1:1:inference-profile/us.{CLAUDE}": "3.3",
    f"us-gov-west-1/{NOVA}": "0.072",
    f"arn:aws:bedrock:us-gov-west-1::foundation-model/{NOVA}": "0.072",
    f"eu.{NOVA}": "0.078",
    "apac.anthropic.claude-3-5-sonnet-20240620-v1:0": "3",
}


@pytest.mark.parametrize("name", PRICES)
def test_a_name_has_the_price_of_its_model_profile_and_region(name: str) -> None:
    assert total(where(name)) == Decimal(PRICES[name]) / 1000


def test_a_name_that_is_nobody_s_price_is_priced_as_the_caller_says() -> None:
    profile = f"{ACCOUNT}:application-inference-profile/a0b1c2"
    assert total(where(profile)) is None
    assert total(where(profile, base_model=f"eu.{CLAUDE}")) == Decimal("0.0033")


def test_a_model_that_is_not_claude_is_not_invoked() -> None:
    with pytest.raises(BadRequestError, match=r"call it as bedrock/meta\.llama3-8b-instruct-v1:0"):
        url(where("invoke/meta.llama3-8b-instruct-v1:0"))


def test_the_parameters_are_those_of_the_wire_that_the_name_says() -> None:
    assert "parallel_tool_calls" in (callmeter.get_supported_openai_params(f"bedrock/{CLAUDE}") or ())
    assert "user" in (callmeter.get_supported_openai_params(f"bedrock/invoke/{CLAUDE}") or ())
    assert "seed" in (callmeter.get_supported_openai_params("sagemaker_chat/my-endpoint") or ())
