"""The pytest plugin: what a test's model calls cost, limits and baselines for that, and answers from recordings.

Loaded by pytest wherever callmeter is installed, so it imports nothing until a test asks for one of these:

    llm_cost                        the fixture: a `Tally` of the test's calls so far
    @pytest.mark.max_cost("0.01")   its calls may cost so many USD
    @pytest.mark.cost_baseline      they may not be dearer than when their baseline was taken
    @pytest.mark.recorded           they are answered from a recording

`docs/testing.md` explains them.
"""

import re
from collections.abc import Generator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from callmeter.testing.tally import Tally, Watch
    from callmeter.testing.verdict import Told, Wanted

RECORDINGS = "__recordings__"
BASELINES = "__costs__"

MARKS = {
    "max_cost": "max_cost(usd): the test fails if its model calls cost more than so many USD, written as text",
    "cost_baseline": "cost_baseline(tolerance='0%'): the test fails if its model calls are dearer than they were when "
    "`pytest --callmeter-update` last ran",
    "recorded": "recorded: model calls are answered from a recording, which `pytest --callmeter-record=new` makes",
}

LONGEST_NAME = 100
"""Characters of a recording's file name."""

_watch = pytest.StashKey["Watch"]()
_told = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two options; none is needed to replay and to compare."""
    group = parser.getgroup("callmeter", "costs of model calls")
    group.addoption(
        "--callmeter-record",
        choices=("none", "new", "all"),
        default="none",
        help="for tests marked `recorded`, ask the provider and record: nothing (the default), what is not recorded "
        "yet, or everything anew",
    )
    group.addoption(
        "--callmeter-update",
        action="store_true",
        help="take what tests marked `cost_baseline` cost now as their baselines",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say what the markers mean; sum up where tests are reported, which with xdist is not where they run."""
    for meaning in MARKS.values():
        config.addinivalue_line("markers", meaning)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Reports())


@pytest.fixture
def llm_cost(request: pytest.FixtureRequest) -> "Tally":
    """The model calls of this test and its own fixtures so far: `calls`, `tokens`, `total` (Decimal), `by_model`."""
    return request.node.stash[_watch].tally  # type: ignore[no-any-return]


# --- a test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch the test's calls."""
    if "llm_cost" not in getattr(item, "fixturenames", ()) and not any(map(item.get_closest_marker, MARKS)):
        return (yield)
    from callmeter.tap import tapped

    name = item.nodeid.partition("::")[2]
    watch = item.stash[_watch] = _watching(item, item.path, name)
    with tapped(watch):
        try:
            return (yield)
        finally:
            _save(watch)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Keep apart what a fixture of wider scope calls: it belongs to no one test, and has a recording of its own."""
    item = getattr(request, "_pyfuncitem", None)
    if fixturedef.scope == "function" or item is None or _watch not in item.stash:
        return (yield)
    from callmeter.tap import tapped

    parameter = f"[{getattr(request, 'param_index', 0)}]" if hasattr(request, "param") else ""
    watch = _watching(item, _file_of(fixturedef, item), f"fixture {fixturedef.argname}{parameter}")
    with tapped(watch):
        try:
            made = yield
            watch.complete = True
            return made
        finally:
            _save(watch)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a test that passed, where its calls cost too much or were not recorded."""
    watch = item.stash.get(_watch, None)
    if watch is None:
        return (yield)
    from callmeter.testing.verdict import as_text, judged, told

    wanted = _asked(item)
    try:
        outcome = yield
        watch.complete = True
    except BaseException:
        item.stash[_told] = as_text(told(watch))
        _fail(watch.missing)
        raise
    finally:
        watch.counting = False
    found = judged(watch, wanted)
    item.stash[_told] = as_text(found)
    _fail(found.problems)
    return outcome


def _fail(problems: Sequence[str]) -> None:
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Send what the test cost along with its report."""
    report = yield
    if call.when == "call" and _told in item.stash:
        # Text, which is what crosses from a worker of xdist.
        report.callmeter = item.stash[_told]
    return report


# --- what its markers ask for


def _asked(item: pytest.Item) -> "Wanted":
    from callmeter.testing.verdict import Wanted

    limit, baseline = item.get_closest_marker("max_cost"), item.get_closest_marker("cost_baseline")
    path = item.path.parent / BASELINES / f"{item.path.stem}.json"
    return Wanted(
        name=item.nodeid.partition("::")[2],
        limit=None if limit is None else _usd(limit),
        baseline=None if baseline is None else path,
        tolerance=Decimal(0) if baseline is None else _share(baseline),
        update=item.config.getoption("callmeter_update"),
    )


def _usd(mark: pytest.Mark) -> Decimal:
    given = [*mark.args, *mark.kwargs.values()]
    try:
        (value,) = given
        if isinstance(value, str | int | Decimal) and (usd := Decimal(value)).is_finite() and usd >= 0:
            return usd
    except (ValueError, InvalidOperation):
        pass
    shown = ", ".join(map(repr, given))
    pytest.fail(f'max_cost({shown}) is no limit: write USD as text, as in max_cost("0.01")', pytrace=False)


def _share(mark: pytest.Mark) -> Decimal:
    given = [*mark.args, *mark.kwargs.values()] or ["0%"]
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", str(given[0]))
    if found is None or len(given) > 1 or mark.kwargs.keys() - {"tolerance"}:
        shown = ", ".join(map(repr, given))
        pytest.fail(f'cost_baseline({shown}) is no tolerance: write cost_baseline(tolerance="5%")', pytrace=False)
    return Decimal(found[1]) / 100


# --- its recording


def _watching(item: pytest.Item, file: Path, name: str) -> "Watch":
    from callmeter.testing.cassette import Cassette
    from callmeter.testing.tally import Watch

    if item.get_closest_marker("recorded") is None:
        return Watch()
    path = file.parent / RECORDINGS / file.stem / f"{_file_name(name)}.json"
    return Watch(Cassette(path, item.config.getoption("callmeter_record")))


def _file_name(name: str) -> str:
    """A test's name as that of a file: of other characters and of what is too long, a hash keeps names apart."""
    plain = re.sub(r"[^\w.\[\]-]+", "-", name.replace("::", "."))[:LONGEST_NAME]
    if plain == name.replace("::", "."):
        return plain
    import hashlib

    return f"{plain}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


def _file_of(fixturedef: pytest.FixtureDef[Any], item: pytest.Item) -> Path:
    import inspect

    try:
        return Path(inspect.getfile(inspect.unwrap(fixturedef.func)))
    except TypeError:
        return item.path


def _save(watch: "Watch") -> None:
    if watch.cassette is not None:
        watch.cassette.save(complete=watch.complete)


# --- the end


class _Reports:
    """Collects what tests cost from their reports, and says so at the end."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []
        self._written: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = getattr(report, "callmeter", None)
        if found is not None:
            self._found.append((report.nodeid, found))

    def pytest_sessionfinish(self) -> None:
        if self._found:
            from callmeter.testing.summary import write_baselines

            self._written = write_baselines(self._tests())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._found:
            from callmeter.testing.summary import lines

            terminalreporter.section("costs of model calls")
            for line in (*lines(self._tests()), *self._written):
                terminalreporter.write_line(line)

    def _tests(self) -> "list[tuple[str, Told]]":
        from callmeter.testing.verdict import of_text

        return [(name, of_text(text)) for name, text in self._found]
