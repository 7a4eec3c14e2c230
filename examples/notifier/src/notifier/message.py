"""A report as a message in Slack's form. Pure functions."""

import json
from typing import Any

SIGNS = {"failed": ":x:", "recovered": ":white_check_mark:"}
# Slack refuses a section of more than 3000 characters; one may become five.
ERROR_LENGTH = 590


def message(event: str, report: str) -> str:
    """Return the message, as JSON.

    Args:
        event: failed or recovered.
        report: report.json of Slipway.
    """
    document = json.loads(report)
    where = f" to {document['environment']}" if document["environment"] else ""
    stage = next((stage["name"] for stage in document["stages"] if stage["result"] == "failed"), "")
    title = f"{SIGNS.get(event, ':grey_question:')} {escaped(document['name'])}{escaped(where)} {event}"
    title += f" in {escaped(stage)}" if stage else ""
    facts = [f"*{name}* `{escaped(value)}`" for name, value in _facts(document).items() if value]
    if document["link"]:
        facts.append(f"<{escaped(document['link'])}|the run>")
    blocks = [_section(f"*{title}*")]
    if document["error"]:
        blocks.append(_section(f"```{escaped(document['error'][:ERROR_LENGTH])}```"))
    if facts:
        blocks.append(_section("\n".join(facts)))
    return json.dumps({"text": title, "blocks": blocks})


def escaped(text: str) -> str:
    """Return text in which Slack sees no markup and no mention."""
    for character, name in {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.items():
        text = text.replace(character, name)
    return text.replace("`", "'")


def _facts(document: dict[str, Any]) -> dict[str, str]:
    return {"commit": document["commit"][:12], "release": document["reference"]}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}
