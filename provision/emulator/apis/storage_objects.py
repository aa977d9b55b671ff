"""Objects of Cloud Storage: found, listed, downloaded, described, deleted.

https://cloud.google.com/storage/docs/json_api/v1/objects
"""

import base64
import re
from collections.abc import Iterator
from email.utils import format_datetime
from urllib.parse import quote

from provision.emulator import errors
from provision.emulator.api import Call, Json, Reply
from provision.emulator.apis import storage_shelf as shelf
from provision.emulator.apis.storage_buckets import project_acl
from provision.emulator.apis.storage_lifecycle import sweep
from provision.emulator.apis.storage_rules import (
    bucket_of,
    check_conditions,
    check_etags,
    merge,
    no_such_object,
    object_etag,
    retained_until,
    storage,
)
from provision.emulator.clock import parse

_PATCHABLE = {*shelf.WRITABLE} - {"storageClass"}  # a class changes by rewriting


@storage("storage.objects.get", "storage.objects.get")
def get(call: Call) -> Json | Reply:
    """An object's metadata, or with alt=media its bytes."""
    bucket = open_bucket(call)
    row = object_of(call, bucket)
    check_conditions(call.params, row)
    check_etags(call, object_etag(row))
    if call.params.get("alt") == "media":
        return download(call, row)
    return shown(call, bucket, row)


@storage("storage.objects.list", "storage.objects.list")
def list_(call: Call) -> Json:
    """Objects by name: live ones or all versions, folded at a delimiter into prefixes, page by page."""
    bucket, params = open_bucket(call), call.params
    size = min(int(params.get("maxResults") or 1000), 1000)
    last = begin = _token(str(params.get("pageToken") or ""))
    answer: Json = {"kind": "storage#objects"}
    items: list[Json] = []
    prefixes: list[str] = []
    for key, row in _entries(call, bucket["name"]):
        if key <= begin:
            continue
        if len(items) + len(prefixes) == size:
            answer["nextPageToken"] = base64.b64encode(last.encode()).decode()
            break
        last = key
        if row is None:
            prefixes.append(key)
        else:
            items.append(shown(call, bucket, row))
    if prefixes:
        answer["prefixes"] = prefixes
    if items:
        answer["items"] = items
    return answer


@storage("storage.objects.patch", "storage.objects.update")
def patch(call: Call) -> Json:
    """Change metadata: null takes a field away, custom metadata is merged key by key."""
    return _change(call, merge_into=True)


@storage("storage.objects.update", "storage.objects.update")
def update(call: Call) -> Json:
    """Replace all metadata that a writer may set."""
    return _change(call, merge_into=False)


@storage("storage.objects.delete", "storage.objects.delete")
def delete(call: Call) -> Reply:
    """Delete the live version (which versioning keeps as noncurrent), or one generation for good."""
    bucket = open_bucket(call)
    row = object_of(call, bucket)
    check_conditions(call.params, row)
    if call.params.get("generation") is None:
        shelf.retire(call.world, bucket, row)
    else:
        shelf.erase(call.world, bucket, row)
    return Reply(status=204, headers=NO_CACHE)


NO_CACHE = {
    "cache-control": "no-cache, no-store, max-age=0, must-revalidate",
    "pragma": "no-cache",
    "server": "UploadServer",
}


def open_bucket(call: Call, key: str = "bucket") -> Json:
    """The bucket that parameter `key` names, with its lifecycle rules applied and old bytes cleared away."""
    bucket = bucket_of(call, key)
    shelf.tidy(call.world)
    sweep(call.world, bucket)
    return bucket


def object_of(call: Call, bucket: Json, key: str = "object", generation: str = "generation") -> Json:
    """The version that a request names; raises 404 when there is none."""
    name = str(call.params[key])
    row = shelf.find(call.world, bucket["name"], name, call.params.get(generation))
    if row is None:
        raise no_such_object(call, bucket, name)
    return row


def shown(call: Call, bucket: Json, row: Json, projection: str = "noAcl") -> Json:
    """An object as the API answers it; `projection` is the method's default for the parameter of that name."""
    name, generation = quote(row["name"], safe=""), row["generation"]
    path = f"storage/v1/b/{row['bucket']}/o/{name}"
    answer = row | {
        "kind": "storage#object",
        "id": f"{row['bucket']}/{row['name']}/{generation}",
        "selfLink": f"https://www.googleapis.com/{path}",
        # clients download from here, so it must lead back to the emulator
        "mediaLink": f"{call.base}/{call.host}/download/{path}?generation={generation}&alt=media",
        "etag": object_etag(row),
    }
    until = retained_until(bucket, row)
    if until:
        answer["retentionExpirationTime"] = until
    uniform = bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"]
    if call.params.get("projection", projection) == "full" and not uniform:
        about = {"bucket": row["bucket"], "object": row["name"], "generation": generation}
        acl = about | {"kind": "storage#objectAccessControl"}
        answer["acl"] = [entry | acl | {"etag": answer["etag"]} for entry in project_acl(bucket["projectNumber"])]
        answer["owner"] = {"entity": f"project-owners-{bucket['projectNumber']}"}
    return answer


def _entries(call: Call, bucket: str) -> Iterator[tuple[str, Json | None]]:
    """What a listing walks through in order: (object, row) and, once for each, (prefix, None).

    Versions of one object are told apart by their generation behind a line feed, which no name contains.
    """
    params = call.params
    prefix, delimiter = str(params.get("prefix") or ""), str(params.get("delimiter") or "")
    first, end = str(params.get("startOffset") or ""), str(params.get("endOffset") or "")
    glob = _glob(str(params["matchGlob"])) if params.get("matchGlob") else None
    rows = shelf.live_under(call.world, bucket, prefix)
    if params.get("softDeleted"):
        rows = []  # deleted objects are not kept here
    elif params.get("versions"):
        rows += shelf.noncurrent_under(call.world, bucket, prefix)
        rows.sort(key=lambda row: (row["name"].encode(), int(row["generation"])))
    before = None
    for row in rows:
        name = row["name"]
        if name < first or (end and name >= end) or (glob and not glob.fullmatch(name)):
            continue
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        folder = name[: cut + len(delimiter)] if cut >= 0 else None
        if folder and folder != before:
            yield folder, None
        if folder is None or (params.get("includeTrailingDelimiter") and folder == name):
            yield (f"{name}\n{row['generation']}" if params.get("versions") else name), row
        before = folder


def _glob(pattern: str) -> re.Pattern[str]:
    """matchGlob: `*` stays within a folder, `**` does not. https://cloud.google.com/storage/docs/json_api/v1/objects/list."""
    spelled = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", "}": ")", ",": "|"}
    depth, text = 0, ""
    for piece in re.findall(r"\*\*|\[!?[^\]]+\]|.", pattern, re.DOTALL):
        depth += (piece == "{") - (piece == "}")
        if piece.startswith("[") and len(piece) > 1:
            text += piece.replace("[!", "[^", 1)
        elif piece in spelled and (piece != "," or depth):
            text += spelled[piece]
        else:
            text += re.escape(piece)
    return re.compile(text, re.DOTALL)


def _token(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except ValueError as problem:
        raise errors.invalid("Invalid argument.", location_type="parameter", location="pageToken") from problem


def _change(call: Call, *, merge_into: bool) -> Json:
    bucket = open_bucket(call)
    row = object_of(call, bucket)
    check_conditions(call.params, row)
    sent = {k: v for k, v in call.body.items() if k in _PATCHABLE}
    kept = {k: v for k, v in row.items() if merge_into or k not in _PATCHABLE}
    changed = merge(kept, sent)
    if not changed.get("metadata"):
        changed.pop("metadata", None)
    if merge_into and sent.get("metadata") == {}:
        changed.pop("metadata", None)  # measured: an empty object takes every entry away
    return shown(call, bucket, shelf.save(call.world, changed), "full")


def download(call: Call, row: Json) -> Reply:
    """The bytes of a version, all or the range that is asked for."""
    size = int(row["size"])
    hashes = [f"crc32c={row['crc32c']}"] + ([f"md5={row['md5Hash']}"] if "md5Hash" in row else [])
    headers = {
        "accept-ranges": "bytes",
        "cache-control": row.get("cacheControl", "no-cache, no-store, max-age=0, must-revalidate"),
        "etag": object_etag(row),
        "last-modified": format_datetime(parse(row["updated"]), usegmt=True),
        "server": "UploadServer",
        "x-goog-generation": row["generation"],
        "x-goog-hash": ",".join(hashes),
        "x-goog-metageneration": row["metageneration"],
        "x-goog-storage-class": row["storageClass"],
        "x-goog-stored-content-encoding": row.get("contentEncoding", "identity"),
        "x-goog-stored-content-length": str(size),
    }
    named = ("Disposition", "Encoding", "Language")
    headers |= {f"content-{word.lower()}": row[f"content{word}"] for word in named if row.get(f"content{word}")}
    start, end = _range(call.headers.get("range"), size)
    whole = start == 0 and end == size and not call.headers.get("range", "").startswith("bytes=")
    if not whole:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    return Reply(
        status=200 if whole else 206,
        headers=headers,
        file=shelf.bytes_path(call.world, row["generation"]),
        start=start,
        end=end,
        media_type=row.get("contentType", "application/octet-stream"),
    )


def _range(header: str | None, size: int) -> tuple[int, int]:
    """First byte and the one after the last that a Range header asks for; raises 416 when there is none such.

    A header that is no range of bytes is no header: https://www.rfc-editor.org/rfc/rfc9110#section-14.2.
    """
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if not found or found.groups() == ("", ""):
        return 0, size
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size or end <= start:
        raise errors.GoogleError(
            416,
            "Request range not satisfiable",
            reason="requestedRangeNotSatisfiable",
            location_type="header",
            location="Range",
            headers={"content-range": f"bytes */{size}"},
        )
    return start, end
