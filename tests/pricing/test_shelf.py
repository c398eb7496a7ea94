"""Which table prices a call: the installed one where it is newer and sound, whatever happens to it meanwhile."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

import callmeter
from callmeter import runtime
from callmeter.errors import ConfigError, PriceTableError
from callmeter.pricing import PriceBook, Usage, default_book
from callmeter.pricing.installed import sound, state
from callmeter.pricing.installing import install, rollback
from callmeter.pricing.shelf import POINTER, Place, Shelf, default_place, load_index
from tests.pricing.tables import changed, newer, packaged, times

USAGE = Usage(input_tokens=1000, output_tokens=100)
LISTED = Decimal("0.0035")
NAME = "gpt-4o"


def dearer(by: int, factor: int = 2) -> object:
    return newer(changed(packaged(), "openai", NAME, lambda m: times("output", factor)(times("input", factor)(m))), by)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "home" / "prices"


def book(root: Path) -> PriceBook:
    return PriceBook(shelf=Shelf(lambda: Place(home=root.parent)))


def total(root: Path) -> Decimal | None:
    return book(root).price(NAME, USAGE).total


def test_without_an_installed_table_the_packages_is_used(root: Path) -> None:
    assert total(root) == LISTED
    assert not root.exists()


def test_a_newer_table_is_used_and_named_on_the_cost(root: Path) -> None:
    document = dearer(1)
    install(root, document)
    cost = book(root).price(NAME, USAGE)
    assert cost.total == 2 * LISTED
    assert cost.table == f"openai@{document.providers['openai'].hash}"
    assert book(root).price("claude-sonnet-4-5", USAGE).total == PriceBook().price("claude-sonnet-4-5", USAGE).total


@pytest.mark.parametrize("by", [0, -1])
def test_a_table_that_is_not_newer_than_the_packages_waits(root: Path, by: int) -> None:
    install(root, dearer(by))
    assert total(root) == LISTED


def test_a_provider_that_only_the_installed_table_has_is_priced(root: Path) -> None:
    document = packaged()
    acme = replace(document.providers["openai"], provider="acme", prefixes=("acme/",))
    install(
        root,
        newer(
            replace(
                document,
                providers={**document.providers, "acme": acme},
                names={**document.names, "acme": "acme"},
                sources={**document.sources, "acme": document.sources["openai"]},
            )
        ),
    )
    assert book(root).price(NAME, USAGE, provider="acme").total == LISTED


def test_rollback_and_forth(root: Path) -> None:
    with pytest.raises(PriceTableError, match="none to go back to"):
        rollback(root)
    install(root, dearer(1))
    install(root, dearer(2, 3))
    assert total(root) == 3 * LISTED
    rollback(root)
    assert total(root) == 2 * LISTED
    rollback(root)
    assert total(root) == 3 * LISTED


def test_the_first_one_rolls_back_to_the_packages(root: Path) -> None:
    install(root, dearer(1))
    rollback(root)
    assert total(root) == LISTED
    rollback(root)
    assert total(root) == 2 * LISTED


def test_only_the_table_in_use_and_the_one_before_are_kept(root: Path) -> None:
    for by in range(1, 5):
        install(root, dearer(by))
    kept = {path.name for path in root.iterdir() if path.is_dir()}
    found = state(root)
    assert found.current is not None
    assert found.previous is not None
    assert kept == {found.current.folder, found.previous.folder}
    assert [found.current.version, found.previous.version] == [packaged().version + 4, packaged().version + 3]


def test_an_older_table_does_not_follow_a_newer_one(root: Path) -> None:
    install(root, dearer(5))
    with pytest.raises(PriceTableError, match="in the meantime, newer than"):
        install(root, dearer(4))
    assert total(root) == 2 * LISTED


# --- damage


def table_file(root: Path, name: str) -> Path:
    (file,) = root.glob(f"*/{name}.json")
    return file


DAMAGE: list[tuple[str, Callable[[Path], object]]] = [
    ("a changed digit", lambda root: table_file(root, "openai").write_bytes(
        table_file(root, "openai").read_bytes().replace(b"5000000000", b"5000000001"))),
    ("a table cut off", lambda root: os.truncate(table_file(root, "openai"), 100)),
    ("no table", lambda root: table_file(root, "openai").unlink()),
    ("an index cut off", lambda root: os.truncate(table_file(root, "index"), 100)),
    ("no folder", lambda root: os.rename(table_file(root, "index").parent, root / "moved")),
    ("a pointer cut off", lambda root: os.truncate(root / POINTER, 30)),
    ("an empty pointer", lambda root: (root / POINTER).write_text("")),
    ("a pointer that leads out", lambda root: (root / POINTER).write_text(
        (root / POINTER).read_text().replace(table_file(root, "index").parent.name, "../x"))),
    ("a pointer that is a folder", lambda root: ((root / POINTER).unlink(), (root / POINTER).mkdir())),
]  # fmt: skip


@pytest.mark.parametrize("damage", [case[1] for case in DAMAGE], ids=[case[0] for case in DAMAGE])
def test_a_damaged_table_is_said_once_and_the_packages_is_used(
    root: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    install(root, dearer(1))
    assert total(root) == 2 * LISTED
    damage(root)
    with caplog.at_level(logging.WARNING, "callmeter"):
        damaged = book(root)
        for _ in range(3):
            assert damaged.price(NAME, USAGE).total == LISTED
            assert damaged.price("gpt-4o-mini", USAGE).status == "priced"
            assert damaged.price("claude-sonnet-4-5", USAGE).status == "priced"
    (said,) = [record.getMessage() for record in caplog.records]
    assert "prices are those of the package" in said
    assert str(root) in said
    assert "callmeter prices" in said or "readable" in said


@pytest.mark.parametrize("damage", [case[1] for case in DAMAGE[:7]], ids=[case[0] for case in DAMAGE[:7]])
def test_installing_again_mends_it(root: Path, damage: Callable[[Path], object]) -> None:
    install(root, dearer(1))
    damage(root)
    install(root, dearer(1))
    assert total(root) == 2 * LISTED


def test_a_damaged_table_before_is_not_gone_back_to(root: Path) -> None:
    install(root, dearer(1))
    os.truncate(table_file(root, "openai"), 100)
    install(root, dearer(2, 3))
    with pytest.raises(PriceTableError, match="is not what was installed"):
        rollback(root)
    assert total(root) == 3 * LISTED


def test_a_table_replaced_twice_while_a_process_reads_it_is_followed(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(root, dearer(1))
    reading = book(root)
    assert reading.price("claude-sonnet-4-5", USAGE).status == "priced"
    install(root, dearer(2))
    install(root, dearer(3, 3))
    assert reading.price(NAME, USAGE).total == 3 * LISTED
    assert caplog.records == []


def test_readers_see_one_table_or_the_other_whole(root: Path) -> None:
    """Twelve replacements under four readers: whatever they read is sound, and of one of the tables."""
    expected = {factor * LISTED for factor in range(1, 14)}
    install(root, dearer(1, 1))
    seen: list[Decimal | None] = []
    failed: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set() or len(seen) < 20:
                entry = state(root).current
                assert entry is not None
                seen.append(total(root))
        except BaseException as error:
            failed.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for by in range(2, 14):
        install(root, dearer(by, by))
    done.set()
    for reader in readers:
        reader.join(60)
    assert failed == []
    assert len(seen) >= 20
    assert set(seen) <= expected
    assert total(root) == 13 * LISTED


def test_an_installation_that_dies_half_way_leaves_the_table_before(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(root, dearer(1))
    calls: list[object] = []

    def full(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("callmeter.pricing.installing.os.fsync", full)
    with pytest.raises(PriceTableError, match="No space left on device; nothing was changed"):
        install(root, dearer(2, 3))
    assert len(calls) == 4
    assert total(root) == 2 * LISTED
    assert len([path for path in root.iterdir() if path.is_dir()]) == 1


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(PriceTableError, match=r"cannot write to .*home"):
        install(tmp_path / "home" / "prices", dearer(1))


def test_every_file_of_a_sound_table_is_looked_at(root: Path) -> None:
    entry = install(root, dearer(1))
    sound(root, entry)
    os.truncate(table_file(root, "anthropic"), 100)
    with pytest.raises(PriceTableError, match=r"anthropic\.json is not what was installed"):
        sound(root, entry)


# --- overrides at call time, and from the settings

HALF = '[[discount]]\nprovider = "openai"\npercent = "50"\n'


@pytest.mark.parametrize("body", ['[[discount]]\nprovider = "openai"\n', "[[", '[[model]]\nprovider = "x"\nid = "y"\n'])
def test_mistaken_overrides_are_said_once_and_change_no_price(
    root: Path, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    root.mkdir(parents=True)
    (root / "overrides.toml").write_text(body)
    mistaken = book(root)
    for _ in range(3):
        assert mistaken.price(NAME, USAGE).total == LISTED
        assert mistaken.price("claude-sonnet-4-5", USAGE).status == "priced"
    (said,) = [record.getMessage() for record in caplog.records]
    assert "overrides.toml" in said
    assert "prices go on without them" in said


def test_overrides_that_tie_with_the_table_are_said_and_change_no_price(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root.mkdir(parents=True)
    (root / "overrides.toml").write_text(
        '[[model]]\nprovider = "anthropic"\nid = "claude-opus-4-8"\n'
        '[[model.rates]]\nwhen = { region = "us" }\nper = "1M"\ninput = "1"\noutput = "1"\n'
    )
    tied = book(root)
    assert tied.price("claude-opus-4-8", USAGE).items == PriceBook().price("claude-opus-4-8", USAGE).items
    (said,) = [record.getMessage() for record in caplog.records]
    assert "two equally specific rates" in said
    assert "prices of anthropic go on without it" in said


def test_overrides_are_worked_into_an_installed_table(root: Path) -> None:
    install(root, dearer(1))
    (root / "overrides.toml").write_text(HALF)
    assert total(root) == LISTED


def test_the_default_book_reads_the_home_of_the_settings(home: Path) -> None:
    (home / "prices").mkdir(parents=True)
    (home / "prices" / "overrides.toml").write_text(HALF)
    assert PriceBook(shelf=Shelf(default_place)).price(NAME, USAGE).total == LISTED / 2


def test_settings_that_cannot_be_read_leave_the_packages_prices(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CALLMETER_MAX_RETRIES", "some")
    assert PriceBook(shelf=Shelf(default_place)).price(NAME, USAGE).total == LISTED
    (said,) = [record.getMessage() for record in caplog.records]
    assert "CALLMETER_MAX_RETRIES" in said


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> object:
    """`configure()` for one test: what it set is taken back."""
    monkeypatch.setattr(runtime, "_overrides", {})
    yield callmeter.configure
    monkeypatch.setattr(runtime, "_overrides", {})
    callmeter.configure()


def test_configure_names_the_overrides_and_keeps_what_was_registered(
    tmp_path: Path, home: Path, configured: Callable[..., object]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HALF)
    callmeter.register_model({"own-model": {"input_cost_per_token": 1e-6, "output_cost_per_token": 1e-6}})
    configured(price_overrides=str(path))
    assert default_book().price(NAME, USAGE).total == LISTED / 2
    assert default_book().price("own-model", USAGE).total == Decimal("0.0011")
    configured(price_overrides="")
    assert default_book().price(NAME, USAGE).total == LISTED


def test_configure_refuses_mistaken_overrides_and_changes_nothing(
    tmp_path: Path, home: Path, configured: Callable[..., object]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HALF)
    configured(price_overrides=str(path))
    before = runtime.default_runtime()
    for mistaken in (str(tmp_path / "none.toml"), str(tmp_path)):
        with pytest.raises(ConfigError, match="cannot read the price overrides"):
            configured(price_overrides=mistaken)
    assert runtime.default_runtime() is before
    assert default_book().price(NAME, USAGE).total == LISTED / 2


def test_pricing_loads_no_installer_and_no_crypto(home: Path) -> None:
    script = (
        "import sys; from callmeter.pricing import Usage, price; price('gpt-4o', Usage(input_tokens=1));"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(done.stdout.split())
    assert "callmeter.pricing.shelf" in loaded
    unwanted = {
        f"callmeter.pricing.{name}" for name in ("installing", "installed", "overrides", "contracts", "signing")
    }
    assert loaded & (unwanted | {"cryptography", "tempfile", "shutil", "httpx2"}) == set()


def test_the_package_has_a_version() -> None:
    assert load_index().version == packaged().version > 2026_01_01_00
