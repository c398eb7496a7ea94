"""The pytest plugin as its users run it: tests of theirs, in files, against a provider that listens."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import callmeter
from callmeter.testing import FakeProvider

pytest_plugins = ["pytester"]

NAME = "callmeter.testing.plugin"

HEAD = """
import asyncio
import callmeter
import pytest

def ask(text="Hello", model="openai/gpt-4o", **more):
    return callmeter.completion(model, [{"role": "user", "content": text}], **more)
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    with FakeProvider() as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-live-openai")
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_base)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-live-anthropic")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        yield server


@pytest.fixture(scope="module", autouse=True)
def everything_is_loaded() -> None:
    """What is imported first while there is a `pytester` is forgotten after it, and would be there twice from then on."""
    package = Path(callmeter.__file__).parent
    for path in package.rglob("[!_]*.py"):
        importlib.import_module(".".join(path.relative_to(package.parent).with_suffix("").parts))


@pytest.fixture
def run(pytester: pytest.Pytester, provider: FakeProvider) -> Run:
    """Run tests written after `HEAD`; without any, those of the last time."""

    def run(tests: str = "", *options: str) -> pytest.RunResult:
        if tests:
            pytester.makepyfile(test_it=HEAD + tests)
        return pytester.runpytest_inprocess("-p", NAME, "-p", "no:cacheprovider", *options)

    return run


def passed(result: pytest.RunResult, count: int = 1) -> bool:
    return result.parseoutcomes() == {"passed": count}


# --- what a test's calls cost


def test_a_test_sees_what_its_calls_cost(run: Run) -> None:
    tests = """
from decimal import Decimal

def test_it(llm_cost):
    assert (llm_cost.total, llm_cost.tokens, llm_cost.calls) == (0, 0, ())
    ask()
    for chunk in ask(model="anthropic/claude-sonnet-4-5", stream=True):
        pass
    asyncio.run(callmeter.acompletion("openai/gpt-4o", [{"role": "user", "content": "Hello"}]))
    openai = llm_cost.by_model["openai/gpt-4o"]
    assert [len(llm_cost.calls), len(openai.calls)] == [3, 2]
    assert openai.total == 2 * openai.calls[0].cost.total == Decimal("0.000225")
    assert llm_cost.total == openai.total + llm_cost.by_model["anthropic/claude-sonnet-4-5"].total
    assert llm_cost.tokens == llm_cost.usage.input_tokens + llm_cost.usage.output_tokens == sum(
        call.usage.total_tokens for call in llm_cost.calls
    )
"""
    assert passed(run(tests))


def test_a_cost_nobody_knows_is_none_with_a_reason(run: Run) -> None:
    tests = """
def test_it(llm_cost):
    ask()
    ask(model="openai/gpt-made-up")
    assert llm_cost.total is None
    assert llm_cost.cost.status == "partial"
    assert "gpt-made-up" in llm_cost.cost.reason
"""
    result = run(tests)
    assert passed(result)
    result.stdout.fnmatch_lines(["1 test: 2 model calls, $0.0001125 and 1 call of unknown cost"])


def test_calls_of_a_test_s_own_fixtures_are_its_own_and_those_of_wider_ones_are_nobody_s(run: Run) -> None:
    tests = """
@pytest.fixture(scope="module")
def wide():
    ask()

@pytest.fixture
def own():
    ask()

def test_a(wide, own, llm_cost):
    assert len(llm_cost.calls) == 1

def test_b(wide, own, llm_cost):
    assert len(llm_cost.calls) == 1
"""
    assert passed(run(tests), 2)


def test_calls_are_seen_whatever_runtime_makes_them(run: Run) -> None:
    tests = """
from callmeter.testing import capture_events

def test_it(llm_cost):
    with capture_events() as events:
        ask()
    callmeter.configure(project="p")
    ask()
    assert len(llm_cost.calls) == 2 and len(events) == 2
"""
    assert passed(run(tests))


# --- limits


def test_a_test_within_its_limit_passes(run: Run) -> None:
    assert passed(run('@pytest.mark.max_cost("0.0001125")\ndef test_it():\n    ask()'))


def test_a_test_beyond_its_limit_fails_and_says_which_model_cost_what(run: Run) -> None:
    result = run('@pytest.mark.max_cost("0.0001")\ndef test_it():\n    ask()')
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["the calls cost $0.0001125, more than $0.0001:", "  $0.0001125  openai/gpt-4o"])


def test_a_limit_is_not_kept_by_what_nobody_knows(run: Run) -> None:
    result = run('@pytest.mark.max_cost("1")\ndef test_it():\n    ask(model="openai/gpt-made-up")')
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["nobody knows whether the calls cost more than $1.00: unknown model 'gpt-made-up'*"])


@pytest.mark.parametrize("given", ["0.01", "", "'a'", "'-1'", "'1', '2'", "'NaN'"])
def test_a_limit_that_is_none_is_refused(run: Run, given: str) -> None:
    result = run(f"@pytest.mark.max_cost({given})\ndef test_it():\n    pass")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines([f'max_cost({given}) is no limit: write USD as text, as in max_cost("0.01")'])


def test_a_test_that_fails_by_itself_says_its_own_reason(run: Run) -> None:
    result = run('@pytest.mark.max_cost("0")\ndef test_it():\n    ask()\n    assert 1 == 2')
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["*assert 1 == 2", "1 test: 1 model call, $0.0001125"])
    result.stdout.no_fnmatch_line("*more than*")


# --- recordings

RECORDED = """
@pytest.mark.recorded
def test_it(llm_cost):
    text = ask().choices[0].message.content
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in ask(model="anthropic/claude-sonnet-4-5", stream=True))
    async def both():
        answer = await callmeter.acompletion("openai/gpt-4o", [{"role": "user", "content": "Again"}])
        stream = await callmeter.acompletion("openai/gpt-4o", [{"role": "user", "content": "Again"}], stream=True)
        return answer.choices[0].message.content, "".join([c.choices[0].delta.content or "" async for c in stream])
    assert {text, streamed, *asyncio.run(both())} == {"Hello from the fake provider, which answers everything alike."}
    vectors = callmeter.embedding("openai/text-embedding-3-small", ["one", "two"]).data
    assert [item.index for item in vectors] == [0, 1]
    print("cost", llm_cost.total)
"""


def recording(pytester: pytest.Pytester, name: str = "test_it") -> Path:
    return pytester.path / "__recordings__" / "test_it" / f"{name}.json"


def test_what_was_recorded_is_replayed_without_the_provider_and_without_keys(
    run: Run, provider: FakeProvider, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(RECORDED, "--callmeter-record=new", "-rP")
    assert passed(first)
    assert provider.counts.calls == 5
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    again = run("", "-rP")
    assert passed(again)
    assert provider.counts.calls == 5
    cost = next(line for line in first.outlines if line.startswith("cost"))
    assert cost in again.outlines
    again.stdout.fnmatch_lines(["1 test: 5 model calls, $*; 5 of 5 calls replayed, which cost nothing"])
    assert "sk-live" not in recording(pytester).read_text()


def test_what_was_not_recorded_is_one_clear_error(run: Run, provider: FakeProvider, pytester: pytest.Pytester) -> None:
    result = run("@pytest.mark.recorded\ndef test_it():\n    ask(num_retries=3, fallbacks=['openai/gpt-4o-mini'])")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(
        ["no recording of POST http://localhost/v1/chat/completions: *test_it.json does not exist. Record it with "
         "`pytest --callmeter-record=new`*"]
    )  # fmt: skip
    assert "Traceback" not in str(result.stdout)
    assert provider.counts.calls == 0


def test_an_error_that_the_tested_code_survives_fails_the_test_all_the_same(run: Run) -> None:
    tests = """
@pytest.mark.recorded
def test_it():
    try:
        ask()
    except Exception:
        pass
"""
    result = run(tests)
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["no recording of POST *"])


def test_a_request_that_changed_is_told_by_where_it_did(run: Run, provider: FakeProvider) -> None:
    tests = '@pytest.mark.recorded\ndef test_it():\n    ask("How are you?")'
    assert passed(run(tests, "--callmeter-record=new"))
    result = run(tests.replace("How", "Who"))
    result.stdout.fnmatch_lines(["*messages[[]0].content was 'How are you?' and is 'Who are you?' now*"])


def test_each_answer_is_replayed_once_in_its_order(run: Run, provider: FakeProvider) -> None:
    tests = """
@pytest.mark.recorded
def test_it():
    said = [ask().id for _ in range(TIMES)]
    assert said == sorted(set(said))
"""
    assert passed(run(tests.replace("TIMES", "2"), "--callmeter-record=new"))
    assert passed(run())
    result = run(tests.replace("TIMES", "3"))
    result.stdout.fnmatch_lines(["*it was recorded 2 times and is asked once more*"])


def test_failures_are_recorded_and_nobody_waits_for_them_twice(
    run: Run, provider: FakeProvider, pytester: pytest.Pytester
) -> None:
    provider.answer(503)
    provider.answer(429, headers={"retry-after": "0.01"})
    tests = """
@pytest.mark.recorded
def test_it(llm_cost):
    ask()
    assert [attempt.error.http_status for attempt in llm_cost.calls[0].attempts[:-1]] == [503, 429]
"""
    assert passed(run(tests, "--callmeter-record=new"))
    file = recording(pytester)
    # A wait that a run of the suite would be stuck in.
    file.write_text(file.read_text().replace('"retry-after": "0.01"', '"retry-after": "50"'))
    assert passed(run())
    assert provider.counts.calls == 3


def test_an_answer_that_breaks_off_is_not_recorded(run: Run, provider: FakeProvider, pytester: pytest.Pytester) -> None:
    provider.cut(300)
    tests = """
@pytest.mark.recorded
def test_it():
    with pytest.raises(callmeter.APIConnectionError):
        list(ask(stream=True, num_retries=0))
"""
    assert passed(run(tests, "--callmeter-record=new"))
    assert not recording(pytester).exists()


def test_a_stream_that_its_reader_left_is_replayed_up_to_there(run: Run, provider: FakeProvider) -> None:
    provider.drip(200, 0.001, times=None)
    tests = """
@pytest.mark.recorded
def test_it(llm_cost):
    stream = ask(stream=True)
    read = [next(stream) for _ in range(2)]
    if MORE:
        read += list(stream)
    stream.close()
    assert llm_cost.calls[0].finish_reason == "cancelled"
"""
    assert passed(run(tests.replace("MORE", "False"), "--callmeter-record=new"))
    assert passed(run())
    result = run(tests.replace("MORE", "True"))
    result.stdout.fnmatch_lines(["*NoRecordingError: the recorded stream ends here*"])


def test_recording_what_is_new_asks_for_nothing_else_and_leaves_out_what_is_not_asked_any_more(
    run: Run, provider: FakeProvider, pytester: pytest.Pytester
) -> None:
    tests = '@pytest.mark.recorded\ndef test_it():\n    ask("one")\n    ask("two")'
    assert passed(run(tests, "--callmeter-record=new"))
    assert passed(run(tests.replace("two", "three"), "--callmeter-record=new"))
    assert provider.counts.calls == 3
    said = [
        each["request"]["body"]["messages"][0]["content"]
        for each in json.loads(recording(pytester).read_bytes())["exchanges"]
    ]
    assert said == ["one", "three"]


def test_recording_all_asks_for_everything_anew(run: Run, provider: FakeProvider) -> None:
    tests = "@pytest.mark.recorded\ndef test_it():\n    ask()"
    assert passed(run(tests, "--callmeter-record=all"))
    assert passed(run("", "--callmeter-record=all"))
    assert provider.counts.calls == 2


def test_a_run_that_reaches_nobody_keeps_the_recording_there_is(
    run: Run, provider: FakeProvider, pytester: pytest.Pytester
) -> None:
    tests = "@pytest.mark.recorded\ndef test_it():\n    ask(num_retries=0)"
    assert passed(run(tests, "--callmeter-record=new"))
    before = recording(pytester).read_bytes()
    provider.cut(times=None)
    assert run("", "--callmeter-record=all").parseoutcomes() == {"failed": 1}
    assert recording(pytester).read_bytes() == before


def test_a_wide_fixture_has_a_recording_of_its_own(run: Run, provider: FakeProvider, pytester: pytest.Pytester) -> None:
    tests = """
pytestmark = pytest.mark.recorded

@pytest.fixture(scope="module", params=["one", "two"])
def answer(request):
    return ask(request.param)

def test_a(answer):
    ask("a")

def test_b(answer):
    assert answer.choices
"""
    assert passed(run(tests, "--callmeter-record=new"), 4)
    assert provider.counts.calls == 4
    # Whichever test needs it first, it is the fixture's.
    assert run("", "-k", "test_b").parseoutcomes() == {"passed": 2, "deselected": 2}
    assert provider.counts.calls == 4
    assert len(list((pytester.path / "__recordings__" / "test_it").glob("fixture-answer*"))) == 2


def test_names_of_tests_become_names_of_files_that_differ(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
@pytest.mark.recorded
class TestIt:
    @pytest.mark.parametrize("text", ["a/b", "a?b", "plain"])
    def test_it(self, text):
        ask(text)
"""
    assert passed(run(tests, "--callmeter-record=new"), 3)
    names = sorted(path.name for path in (pytester.path / "__recordings__" / "test_it").iterdir())
    assert len(names) == 3
    assert "TestIt.test_it[plain].json" in names
    assert passed(run(), 3)


# --- baselines

BASED = """
@pytest.mark.recorded
@pytest.mark.cost_baseline
def test_it():
    ask("Hello", model="openai/gpt-4o")
"""


def test_a_test_without_a_baseline_says_how_to_take_one(run: Run) -> None:
    result = run("@pytest.mark.cost_baseline\ndef test_it():\n    ask()")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(["*test_it.json has no baseline for it yet: take one with `pytest --callmeter-update`"])


def test_a_baseline_is_a_file_to_review(run: Run, pytester: pytest.Pytester) -> None:
    result = run("@pytest.mark.cost_baseline\ndef test_it():\n    ask()", "--callmeter-update")
    assert passed(result)
    result.stdout.fnmatch_lines(["baselines of 1 test written to *__costs__*test_it.json"])
    assert json.loads((pytester.path / "__costs__" / "test_it.json").read_bytes()) == {
        "callmeter_baseline": 1,
        "tests": {
            "test_it": [
                {
                    "provider": "openai",
                    "model": "gpt-4o",
                    "tier": "default",
                    "usage": {"input_tokens": 9, "output_tokens": 9, "reasoning_tokens": 0},
                    "cost": "0.0001125",
                }
            ]
        },
    }
    assert passed(run())


USING = """
@pytest.mark.cost_baseline
def test_it():
    use = '{"prompt_tokens": 1000, "cached_tokens": 800, "completion_tokens": 100}'
    ask(model="openai/gpt-4o", headers={"x-fake": use})
"""


@pytest.mark.parametrize(
    ("old", "new", "head", "causes"),
    [
        ("1000", "1400", "40.0% dearer", ["+$0.001  the prompt grew from 1,000 to 1,400 tokens"]),
        ("800", "0", "40.0% dearer", ["+$0.001  the cache was lost: 800 tokens were read from it, none are now"]),
        ("800", "400", "20.0% dearer", ["+$0.0005  less is read from the cache: 800 → 400 tokens"]),
        (": 100}", ": 200}", "40.0% dearer", ["+$0.001  the answer grew from 100 to 200 tokens"]),
        ("gpt-4o", "gpt-4.1", "36.0% cheaper", ["-$0.0009  the model changed: openai/gpt-4o → openai/gpt-4.1"]),
        ("    ask(", "    ask()\n    ask(", "4.5% dearer", ["+$0.0001125  a call to openai/gpt-4o was added"]),
        ("    ask(", "    return\n    ask(", "100.0% cheaper", ["-$0.0025  a call to openai/gpt-4o is gone"]),
        (
            '1000, "cached_tokens": 800',
            '1200, "cached_tokens": 0',
            "60.0% dearer",
            ["+$0.001  the cache was lost: *", "+$0.0005  the prompt grew from 1,000 to 1,200 tokens"],
        ),
    ],
)
def test_what_made_a_test_dearer_or_cheaper_is_said(run: Run, old: str, new: str, head: str, causes: list[str]) -> None:
    assert passed(run(USING, "--callmeter-update"))
    result = run(USING.replace(old, new))
    assert result.parseoutcomes() == ({"failed": 1} if "dearer" in head else {"passed": 1})
    result.stdout.fnmatch_lines(
        [f"test_it.py::test_it: {head} than its baseline ($0.0025 → $0.*):", *(f"  {cause}" for cause in causes)]
    )


def test_a_rise_within_the_tolerance_passes_and_is_told(run: Run) -> None:
    tests = BASED.replace("cost_baseline", 'cost_baseline(tolerance="50%")')
    assert passed(run(tests, "--callmeter-record=new", "--callmeter-update"))
    result = run(tests.replace('"Hello"', '"Hello, who are you?"'), "--callmeter-record=new")
    assert passed(result)
    result.stdout.fnmatch_lines(["test_it.py::test_it: *% dearer than its baseline*"])


@pytest.mark.parametrize("given", ["5", "'5'", "tolerance='-1%'", "'1%', '2%'", "by='5%'"])
def test_a_tolerance_that_is_none_is_refused(run: Run, given: str) -> None:
    result = run(f"@pytest.mark.cost_baseline({given})\ndef test_it():\n    pass")
    assert result.parseoutcomes() == {"failed": 1}
    result.stdout.fnmatch_lines(['cost_baseline(*) is no tolerance: write cost_baseline(tolerance="5%")'])


def test_a_price_that_changed_fails_nothing_and_is_told(run: Run, pytester: pytest.Pytester) -> None:
    assert passed(run(BASED, "--callmeter-record=new", "--callmeter-update"))
    path = pytester.path / "__costs__" / "test_it.json"
    path.write_text(path.read_text().replace("0.0001125", "0.0001"))
    result = run()
    assert passed(result)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_it: 12.5% dearer than its baseline ($0.0001 → $0.0001125):",
            "  +$0.0000125  the price of openai/gpt-4o changed",
            "  Only prices changed, so the test does not fail; *",
        ]
    )


def test_prices_of_the_caller_s_own_are_compared_by_their_rates(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
@pytest.mark.cost_baseline
def test_it():
    ask("Hello", input_cost_per_token=0.001, output_cost_per_token=0.002)
"""
    assert passed(run(tests, "--callmeter-update"))
    assert '"rates"' in (pytester.path / "__costs__" / "test_it.json").read_text()
    result = run(tests.replace("0.002", "0.003").replace("Hello", "Hello, you"))
    result.stdout.fnmatch_lines(
        ["  +$0.009  the price of openai/gpt-4o changed", "  +$0.001  the prompt grew from 9 to 10 tokens"]
    )


def test_calls_at_once_are_paired_by_their_model(run: Run) -> None:
    tests = """
@pytest.mark.cost_baseline
def test_it():
    async def both():
        models = MODELS
        await asyncio.gather(*(callmeter.acompletion(m, [{"role": "user", "content": "Hi"}]) for m in models))
    asyncio.run(both())
"""
    models = ["openai/gpt-4o", "openai/gpt-4o-mini"]
    assert passed(run(tests.replace("MODELS", repr(models)), "--callmeter-update"))
    result = run(tests.replace("MODELS", repr(models[::-1])))
    assert passed(result)
    result.stdout.no_fnmatch_line("*baseline*")


# --- with other plugins, and without any use


@pytest.mark.slow
def test_workers_of_xdist_record_update_and_report_as_one_process_does(
    run: Run, provider: FakeProvider, pytester: pytest.Pytester
) -> None:
    tests = """
@pytest.mark.recorded
@pytest.mark.cost_baseline
@pytest.mark.parametrize("text", ["a", "b", "c", "d"])
def test_it(text):
    ask(text)
"""
    result = run(tests, "-n2", "--callmeter-record=new", "--callmeter-update")
    assert passed(result, 4)
    result.stdout.fnmatch_lines(["4 tests: 4 model calls, $0.*", "baselines of 4 tests written to *"])
    assert len(json.loads((pytester.path / "__costs__" / "test_it.json").read_bytes())["tests"]) == 4
    assert len(list((pytester.path / "__recordings__" / "test_it").iterdir())) == 4
    again = run("", "-n2")
    assert passed(again, 4)
    again.stdout.fnmatch_lines(["4 tests: 4 model calls, $0.*; 4 of 4 calls replayed, which cost nothing"])
    assert provider.counts.calls == 4


def test_a_run_that_asks_for_nothing_says_nothing(run: Run) -> None:
    result = run("def test_it():\n    ask()")
    assert passed(result)
    result.stdout.no_fnmatch_line("*model call*")


def test_the_plugin_loads_nothing_of_callmeter_s_when_pytest_starts() -> None:
    script = f"import sys, pytest; before = set(sys.modules); import {NAME}; print(sorted(set(sys.modules) - before))"
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    assert said.strip() == "['callmeter', 'callmeter.testing', 'callmeter.testing.plugin']"


def test_pytest_finds_the_plugin_where_callmeter_is_installed() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parent.parent.parent / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {NAME: NAME}


# --- the documentation


def test_the_page_s_examples_are_tests_that_pass(run: Run, pytester: pytest.Pytester, provider: FakeProvider) -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "testing.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    tests = "\n\n".join(examples)
    count = tests.count("def test_")
    assert count >= 7
    assert passed(run(tests, "--callmeter-record=new", "--callmeter-update"), count)
    assert passed(run(), count)
