"""Requests held against Google's own schemas: what does not fit is refused in Google's words, the rest made canonical.

The JSON mapping is protobuf's, https://protobuf.dev/programming-guides/json/: numbers of 64 bits may come as text and
are answered as text, enums may come as numbers, field names may come in snake_case.
"""

import re
from typing import Any

from provision.emulator import errors
from provision.emulator.discovery import Route

Json = dict[str, Any]
Problems = list[tuple[str, str]]  # where (a path in snake_case), and what

# parameters that every API takes, https://cloud.google.com/apis/docs/system-parameters
_SYSTEM = {
    "$.xgafv", "$alt", "$callback", "$ct", "$fields", "$httpHeaders", "$key", "$prettyPrint", "$req", "$userProject",
    "access_token", "alt", "bearer_token", "callback", "fields", "key", "oauth_token", "prettyPrint", "quotaUser",
    "trace", "uploadType", "upload_protocol", "upload_id", "userIp", "userProject",
}  # fmt: skip
_KINDS = {"boolean": "TYPE_BOOL", "integer": "TYPE_INT32", "number": "TYPE_DOUBLE", "string": "TYPE_STRING"}


def query_params(route: Route, query: list[tuple[str, str]]) -> Json:
    """Query parameters with the types that the method gives them; raises 400 for one that it does not know."""
    params: Json = {}
    for sent, value in query:
        known = route.parameters.get(sent)
        name = sent
        if known is None and "_" in sent and not sent.startswith("$"):
            name = _camel(sent)
            known = route.parameters.get(name)
        if known is None:
            if sent in _SYSTEM:
                params[sent] = value
                continue
            if errors.family_of(route.host) == "legacy":
                continue  # the older APIs take no notice
            text = f"Cannot bind query parameter. Field '{sent}' could not be found in request message."
            raise _refused([("", f'Unknown name "{sent}": {text}')])
        typed = _query_value(route, name, known, value)
        if known.get("repeated"):
            params.setdefault(name, []).append(typed)
        else:
            params[name] = typed
    return params


def _query_value(route: Route, name: str, known: Json, value: str) -> Any:  # as the schema says
    kind = known.get("type")
    if kind == "boolean":
        if value.lower() not in ("true", "false", "1", "0"):
            raise _refused([("", f"Invalid value at '{_snake(name)}' (TYPE_BOOL), \"{value}\"")])
        return value.lower() in ("true", "1")
    if kind == "integer":
        if not re.fullmatch(r"-?\d+", value):
            raise _refused([("", f"Invalid value at '{_snake(name)}' (TYPE_INT32), \"{value}\"")])
        return int(value)
    if known.get("format") in ("int64", "uint64") and not re.fullmatch(r"-?\d+", value):
        if errors.family_of(route.host) == "legacy":
            where: errors.Details = {"reason": "invalidParameter", "location_type": "parameter", "location": name}
            raise errors.invalid(f"Invalid value for {name}: {value}", **where)
        raise _refused([("", f"Invalid value at '{_snake(name)}' (TYPE_INT64), \"{value}\"")])
    if "enum" in known and value.isdigit() and int(value) < len(known["enum"]):
        return known["enum"][int(value)]
    return value


def body(route: Route, sent: Any) -> Json:  # whatever JSON came
    """The request's body, canonical; raises 400 that names every field that is unknown or has the wrong type."""
    if route.request is None:
        return {}
    if sent is None:
        return {}
    if not isinstance(sent, dict):
        raise _refused([("", "Root element must be a message.")])
    problems: Problems = []
    # some clients repeat in the body what stands in the path, which Google lets them
    repeated = set(route.parameters) - set(route.schemas.get(route.request, {}).get("properties", ()))
    canonical = _message(route, route.request, {k: v for k, v in sent.items() if k not in repeated}, "", problems)
    if problems:
        raise _refused(problems)
    return canonical


def _message(route: Route, name: str, sent: Json, at: str, problems: Problems) -> Json:
    schema = route.schemas.get(name, {})
    return _object(route, schema, sent, at, problems)


def _object(route: Route, schema: Json, sent: Json, at: str, problems: Problems) -> Json:
    properties: Json | None = schema.get("properties")
    extra = schema.get("additionalProperties")
    answer: Json = {}
    for key, value in sent.items():
        name = key
        known = properties.get(key) if properties else None
        if known is None and properties and "_" in key:
            name = _camel(key)
            known = properties.get(name)
        if value is None and _null_removes(route) and (known is not None or extra is not None):
            answer[name] = None
            continue
        if known is None and extra is not None:
            answer[key] = _value(route, extra, value, f"{at}.{_snake(key)}".lstrip("."), problems)
            continue
        if known is None and properties is None:
            answer[key] = value  # a free object, or a schema that says nothing
            continue
        if known is None:
            if key != "@type":
                where = f" at '{at}'" if at else ""
                problems.append((at, f'Unknown name "{key}"{where}: Cannot find field.'))
            continue
        if value is None:
            continue  # null is as good as absent
        answer[name] = _value(route, known, value, f"{at}.{_snake(name)}".lstrip("."), problems)
    return answer


def _null_removes(route: Route) -> bool:
    """Whether null takes a field away: Cloud Storage has no update mask, https://cloud.google.com/storage/docs/json_api#patch."""
    return route.http == "PATCH" and route.host == "storage.googleapis.com"


def _value(route: Route, known: Json, value: Any, at: str, problems: Problems) -> Any:  # as the schema says
    if "$ref" in known:
        if not isinstance(value, dict):
            problems.append((at, f"Invalid value at '{at}' (type.googleapis.com/{known['$ref']}), {_shown(value)}"))
            return value
        return _message(route, known["$ref"], value, at, problems)
    kind = known.get("type")
    if kind == "array":
        items = known.get("items", {})
        rows = value if isinstance(value, list) else [value]
        return [_value(route, items, item, f"{at}[{i}]", problems) for i, item in enumerate(rows)]
    if kind == "object":
        if not isinstance(value, dict):
            problems.append((at, f"Invalid value at '{at}' (Map), {_shown(value)}"))
            return value
        return _object(route, known, value, at, problems)
    return _scalar(known, value, at, problems)


def _scalar(known: Json, value: Any, at: str, problems: Problems) -> Any:  # one case a type
    kind, form = known.get("type"), known.get("format", "")
    if kind == "any" or kind is None:
        return value
    wide = form in ("int64", "uint64")
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    if kind in ("integer", "number") and isinstance(value, (int, float)) and not isinstance(value, bool):
        return int(value) if kind == "integer" else value
    if kind in ("integer", "number") and isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
        return int(value) if kind == "integer" else float(value)
    if wide and isinstance(value, (int, str)) and not isinstance(value, bool) and re.fullmatch(r"-?\d+", str(value)):
        return str(value)
    if "enum" in known:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(known["enum"]):
            return known["enum"][value]
        if value in known["enum"] or (isinstance(value, str) and not at):
            return value
        problems.append((at, f"Invalid value at '{at}' (TYPE_ENUM), {_shown(value)}"))
        return value
    if kind == "string" and isinstance(value, str) and not wide:
        return value
    wanted = "TYPE_INT64" if wide else _KINDS.get(kind, kind)
    problems.append((at, f"Invalid value at '{at}' ({wanted}), {_shown(value)}"))
    return value


def _refused(problems: Problems) -> errors.GoogleError:
    prefix = "Invalid JSON payload received. "
    lines = [prefix + text if text.startswith(("Unknown", "Root")) else text for _, text in problems]
    named = zip(problems, lines, strict=True)
    violations = [{"description": line} | ({"field": at} if at else {}) for (at, _), line in named]
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}]
    return errors.invalid("\n".join(lines), status="INVALID_ARGUMENT", details=details)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: "_" + m.group(1).lower(), name)


def _camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda m: m.group(1).upper(), name)


def _shown(value: Any) -> str:  # any JSON
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def masked(answer: Any, fields: str) -> Any:  # any JSON
    """The part of an answer that a `fields` parameter asks for, as in `items(name,id),nextPageToken` or `a/b`.

    https://cloud.google.com/storage/docs/json_api#partial-response
    """
    return _select(answer, _mask(fields))


def _mask(text: str) -> Json:
    tree: Json = {}
    for part in _split(text):
        head, slash, rest = part.partition("/")
        inner = ""
        if "(" in head:
            head, _, inner = part.partition("(")
            inner = inner.rpartition(")")[0]
        elif slash:
            inner = rest
        branch = tree.setdefault(head.strip(), {})
        if inner:
            branch.update(_mask(inner))
    return tree


def _split(text: str) -> list[str]:
    parts, depth = [""], 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [p for p in parts if p]


def _select(value: Any, tree: Json) -> Any:  # any JSON
    if not tree or "*" in tree:
        return value
    if isinstance(value, list):
        return [_select(item, tree) for item in value]
    if isinstance(value, dict):
        return {key: _select(item, tree[key]) for key, item in value.items() if key in tree}
    return value
