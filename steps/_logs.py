"""The last lines of what a program at Google wrote, for the error that tells that it failed.

https://cloud.google.com/logging/docs/view/logging-query-language
"""

from provision.gcp import Gcp

LINES, LONGEST = 20, 300
"""How many lines are told, and how many characters of each."""


def tail(gcp: Gcp, of: str) -> str:
    """The last lines that fit a filter, or how to look for them later: an entry shows seconds after it was written.

    Args:
        gcp: The clients.
        of: The filter.
    """
    body = {
        "resourceNames": [f"projects/{gcp.project}"],
        "filter": of,
        "orderBy": "timestamp desc",
        "pageSize": LINES,
    }
    entries = gcp.logging.entries().list(body=body).execute().get("entries", [])
    if not entries:
        return f"Its log shows nothing yet; later: gcloud logging read '{of}' --project={gcp.project}"
    lines = [f"  {_text(entry)[:LONGEST]}" for entry in reversed(entries)]
    return "\n".join(["The last lines of its log:", *lines])


def _text(entry: dict[str, object]) -> str:
    payload = entry.get("jsonPayload")
    said = payload.get("message", "") if isinstance(payload, dict) else entry.get("textPayload", "")
    return str(said).rstrip()
