import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from pipeline.api.shipment import Shipment
from pipeline.report.document import to_json
from pipeline.report.notification import notify
from pipeline.report.run import FAILED, PASSED, Run, Stage

MESSAGE = Path(__file__).resolve().parents[2] / "examples" / "notifier" / "src" / "notifier" / "message.py"


class Chat:
    """A notifier of another module, which can fail or hang."""

    def __init__(self, *, fails: bool = False, hangs: bool = False) -> None:
        self.fails = fails
        self.hangs = hangs
        self.notifications: list[tuple[str, Any]] = []

    async def notify(self, event: str, report: str) -> str:
        if self.hangs:
            await anyio.sleep_forever()
        if self.fails:
            raise RuntimeError("the chat\nis down")
        self.notifications.append((event, json.loads(report)))
        return ""


def shipment(*, passed: bool, after_failure: bool = False) -> Shipment:
    run = Run("harbour", [Stage("check", PASSED if passed else FAILED)], after_failure=after_failure)
    return Shipment.of(run, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("passed", "after_failure", "events"),
    [(True, False, []), (True, True, ["recovered"]), (False, False, ["failed"]), (False, True, ["failed"])],
)
async def test_notifications_are_sent_for_failures_and_recoveries_only(
    *, passed: bool, after_failure: bool, events: list[str]
):
    chat = Chat()
    run = shipment(passed=passed, after_failure=after_failure)
    assert await run.notify(chat) is run
    assert [event for event, _ in chat.notifications] == events
    assert [report["result"] for _, report in chat.notifications] == (
        ["passed" if passed else "failed"] if events else []
    )


async def test_a_notifier_that_fails_changes_nothing(capsys: pytest.CaptureFixture[str]):
    run = shipment(passed=False)
    assert await run.notify(Chat(fails=True)) is run
    assert "warning: the notifier failed: the chat is down" in capsys.readouterr().out


async def test_a_notifier_that_hangs_is_cancelled(capsys: pytest.CaptureFixture[str]):
    with anyio.fail_after(5):
        await notify(Chat(hangs=True), "failed", "{}", seconds=0.05)
    assert "warning: the notifier was cancelled after 0.05 s" in capsys.readouterr().out


# The example's message


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("message", MESSAGE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(**changes: Any) -> str:
    stages = [Stage("check", PASSED), Stage("scan", FAILED)]
    fields = {"environment": "staging", "commit": "a" * 40, "link": "https://ci.example.com/1?a=b&c=d"} | changes
    return to_json(Run("harbour", stages, **fields))


def test_the_message_says_what_failed_where(example: ModuleType):
    message = json.loads(example.message("failed", report(error="scan: 2 findings\nCVE-1")))
    assert message["text"] == ":x: harbour to staging failed in scan"
    texts = [block["text"]["text"] for block in message["blocks"]]
    assert texts == [
        "*:x: harbour to staging failed in scan*",
        "```scan: 2 findings\nCVE-1```",
        "*commit* `aaaaaaaaaaaa`\n<https://ci.example.com/1?a=b&amp;c=d|the run>",
    ]


def test_nothing_in_a_report_is_markup_or_a_mention(example: ModuleType):
    message = example.message("failed", report(error="<!channel> ``` <https://evil.example|click> & more"))
    assert "<!channel>" not in message
    assert "&lt;!channel&gt; ''' &lt;https://evil.example|click&gt; &amp; more" in message


def test_a_long_error_fits_into_a_message(example: ModuleType):
    message = json.loads(example.message("failed", report(error="<" * 10_000)))
    assert all(len(block["text"]["text"]) <= 3000 for block in message["blocks"])
    assert message["blocks"][1]["text"]["text"].endswith("&lt;```")
