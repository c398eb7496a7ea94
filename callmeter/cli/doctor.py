"""Check the installation, the home and the settings, and say what is wrong and how to mend it.

Keys are never shown. The exit code is 1 if something is wrong; a note is no more than that.
"""

from callmeter.cli import ExitCode
from callmeter.cli._checks import findings
from callmeter.cli._home import Home
from callmeter.cli._options import Json
from callmeter.cli._output import Report, form_of, print_report


def doctor(json: Json = False, home: Home = None) -> ExitCode:
    found = findings(home)
    wrong = [finding for finding in found if finding.state == "wrong"]
    cures = [f"{finding.what}: {finding.cure}" for finding in found if finding.cure]
    report = Report(
        title="What callmeter finds here",
        columns=("what", "state", "finding"),
        rows=[(finding.what, finding.state, finding.said) for finding in found],
        notes=[*cures, *([] if wrong else ["nothing is wrong"])],
    )
    print_report(report, form_of(json=json))
    return ExitCode.NOTHING if wrong else ExitCode.OK
