"""What stands in the name of a model on Amazon Bedrock beside the model: the API to call, a region, an ARN.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-use.html
"""

import re

from callmeter.client.providers.row import Named

CONVERSE, INVOKE = "converse/", "invoke/"
"""Before a model's name: call it by the Converse API, as all are without it, or Claude by its makers' own format."""

REGION = re.compile(r"(?:us|eu|ap|ca|sa|me|af|il|mx|cn|us-gov|eusc-[a-z]+)-[a-z]+-\d")

ARN = re.compile(r"arn:aws[^:]*:bedrock:(?P<region>[^:]+):[^:]*:(?P<kind>[a-z-]+)/(?P<rest>.+)")

PRICED = ("foundation-model", "inference-profile")
"""Kinds of ARN that end in the name a price goes by. Those of an application's own profile and of an import do not."""


def bedrock(name: str) -> Named:
    """The name of a model on Bedrock: `us-west-2/MODEL`, `invoke/MODEL`, an ARN, or all of that."""
    codec, variables = "bedrock", dict[str, str]()
    while True:
        head, slash, rest = name.partition("/")
        if head + slash == INVOKE:
            codec = "anthropic_bedrock"
        elif slash and REGION.fullmatch(head):
            variables = {"region": head}
        elif head + slash != CONVERSE:
            break
        name = rest
    arn = ARN.fullmatch(name)
    if arn is None:
        return Named(codec, name, variables)
    return Named(codec, name, {"region": arn["region"]}, arn["rest"] if arn["kind"] in PRICED else "")
