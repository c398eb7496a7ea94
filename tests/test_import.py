"""`import callmeter` costs nothing until it is used."""

import json
import subprocess
import sys

import pytest

PROBE = """
import sys, threading
before = set(sys.modules)
seen = []
sys.addaudithook(lambda name, args: seen.append([name, str(args[0]) if args else ""]))
import callmeter
print({dumps}({{
    "loaded": sorted(set(sys.modules) - before),
    "audited": [s for s in seen if s[0] in ("open", "socket.__new__", "socket.connect", "subprocess.Popen")],
    "threads": threading.active_count(),
}}))
"""


def probe() -> dict:
    script = "import json; dumps = json.dumps\n" + PROBE.format(dumps="dumps")
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env={})
    return json.loads(out.stdout)


def test_it_loads_nothing_but_itself() -> None:
    assert probe()["loaded"] == ["callmeter"]


def test_it_opens_no_file_but_its_own_source_and_no_socket() -> None:
    others = [
        what for what in probe()["audited"] if "callmeter/__init__" not in what[1] and "__pycache__" not in what[1]
    ]
    assert others == []


def test_it_starts_no_thread() -> None:
    assert probe()["threads"] == 1


def test_the_probe_sees_what_a_heavier_import_would_load() -> None:
    script = "import sys; n = len(sys.modules); import callmeter; callmeter.completion; print(len(sys.modules) - n)"
    out = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert int(out.stdout) > 30


@pytest.mark.parametrize("name", __import__("callmeter").__all__)
def test_every_public_name_is_there(name: str) -> None:
    import callmeter

    assert getattr(callmeter, name) is not None


def test_the_list_of_public_names_and_where_they_live_agree() -> None:
    import callmeter

    assert set(callmeter.__all__) == {*callmeter._WHERE, *callmeter._ALIASES, *callmeter._MODULES}


def test_an_unknown_name_is_an_attribute_error() -> None:
    import callmeter

    with pytest.raises(AttributeError, match="completionn"):
        callmeter.completionn  # noqa: B018
