"""Make real calls over HTTP to local provider servers, and show what they cost.

Several providers, streams, tools, a failure, a fallback, a cancelled stream and a model without a price. With
--live MODEL two calls go to the real provider instead, with the key in the environment. The ledger stays in a temporary
home, or in the one that --home names.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

import callmeter
from callmeter.cli import ExitCode
from callmeter.cli._home import opened_ledger
from callmeter.cli._options import period
from callmeter.cli._output import print_report
from callmeter.cli.explain import print_explanation
from callmeter.cli.spend import report
from callmeter.errors import APIError, AuthenticationError, ConfigError, JournalError

EXPLAINED = "SELECT call_id FROM calls ORDER BY cost_cache_read DESC NULLS LAST, cost DESC NULLS LAST LIMIT 1"
"""The call with most to tell: cache reads and writes have rates of their own."""

FLUSH_S = 5.0

GO_ON = (
    "spend --by day --by project",
    "calls",
    "explain last",
    'sql "SELECT model, sum(cost) FROM calls GROUP BY model"',
)


def demo(
    live: Annotated[
        str | None, typer.Option(help="Call this model at its real provider, which costs money.", metavar="MODEL")
    ] = None,
    home: Annotated[
        Path | None, typer.Option(help="Keep the ledger here.", metavar="DIR", show_default="a temporary one")
    ] = None,
) -> ExitCode:
    from callmeter.events.journal import Journal

    kept = (home or Path(tempfile.mkdtemp(prefix="callmeter-demo-"))).absolute()
    Journal.open(kept).close()
    callmeter.configure(home=str(kept), ledger=True)
    code = _play_live(live) if live else _play_locally()
    if not callmeter.flush(timeout=FLUSH_S).journalled:
        raise JournalError(f"the calls could not be kept in {kept}; run `callmeter doctor --home {kept}`")
    _show(kept)
    return code


def _play_locally() -> ExitCode:
    from callmeter.cli._scenario import Providers, play
    from callmeter.testing import FakeProvider

    # A proxy that the environment names could not reach servers on this machine's loopback.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    with FakeProvider() as openai, FakeProvider() as anthropic, FakeProvider() as ollama:
        print(f"Provider servers: OpenAI {openai.url}, Anthropic {anthropic.url}, Ollama {ollama.url}\n")
        for model, outcome in play(Providers(openai, anthropic, ollama)):
            print(f"{model:<18} {outcome}", flush=True)
        served = sum(provider.counts.calls for provider in (openai, anthropic, ollama))
    print(f"\nThe servers answered {served} requests.\n")
    return ExitCode.OK


def _play_live(model: str) -> ExitCode:
    """One plain and one streamed call. A failure is shown in the ledger like any other."""
    messages = [{"role": "user", "content": "Say hello in five words."}]
    try:
        answer = callmeter.completion(model, messages)
        print(f"plain     {answer.choices[0].message.content}")
        print("streamed  ", end="")
        for chunk in callmeter.completion(model, messages, stream=True):
            print(chunk.choices[0].delta.content or "", end="", flush=True)
        print("\n")
    except AuthenticationError as error:
        raise ConfigError(f"{model} was not called: {error.message}") from None
    except APIError as error:
        typer.echo(f"callmeter: {model} did not answer: {error.message}", err=True)
        return ExitCode.NOTHING
    return ExitCode.OK


def _show(home: Path) -> None:
    from callmeter.ledger import explain

    when = period()
    with opened_ledger(str(home)) as ledger:
        print_report(report(ledger, ["model"], when))
        print("\nOne of them, to the last digit:\n")
        call_id = ledger.execute(EXPLAINED).fetchone()[0]
        print_explanation(explain(call_id, ledger=ledger), when)
    print("\nGo on with:")
    for command in GO_ON:
        print(f"  {_ourselves()} {command} --home {quote(str(home))}")


def _ourselves() -> str:
    """How this command is called from here: by name where the shell would find this very file, else by its path."""
    me = Path(sys.argv[0])
    found = shutil.which("callmeter")
    if not os.access(me, os.X_OK) or (found is not None and Path(found).samefile(me)):
        return "callmeter"
    return quote(os.path.relpath(me))
