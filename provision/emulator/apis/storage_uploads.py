"""Uploads to Cloud Storage: in one request, in two parts, or resumable in many requests.

https://cloud.google.com/storage/docs/performing-resumable-uploads, https://cloud.google.com/storage/docs/uploads-downloads
"""

import re
from pathlib import Path
from urllib.parse import urlencode

from provision.emulator import errors
from provision.emulator.api import Call, Json, Reply
from provision.emulator.apis import storage_shelf as shelf
from provision.emulator.apis.storage_objects import NO_CACHE, open_bucket, shown
from provision.emulator.apis.storage_rules import check_conditions, check_held, check_object_name, require, storage

_QUANTUM = 256 * 1024  # all chunks but the last are kept in multiples of it


@storage("storage.objects.insert", "storage.objects.create")
def insert(call: Call) -> Json | Reply:
    """Store an object; the same method goes on with, asks after and cancels a resumable upload."""
    bucket = open_bucket(call)
    session = dict(call.query).get("upload_id")
    if session is not None:
        return _go_on(call, bucket, session)
    name = str(call.params.get("name") or call.body.get("name") or "")
    check_object_name(name)
    fields = dict(call.body)
    if call.params.get("contentEncoding"):
        fields["contentEncoding"] = call.params["contentEncoding"]
    admit(call, bucket, name, call.params)
    if call.upload == "resumable":
        return _begin(call, bucket, name, fields)
    if call.media is None:
        where = "an uploadType URL parameter and a URL path beginning with /upload/"
        raise errors.invalid(f"Upload requests must include {where}")
    if call.media_type:
        fields.setdefault("contentType", call.media_type)
    return store(call, bucket, name, fields, call.media)


def admit(call: Call, bucket: Json, name: str, conditions: Json) -> None:
    """Raise what stands against a new live version: a condition first, then access, then a hold."""
    old = shelf.live(call.world, bucket["name"], name)
    check_conditions(conditions, old)
    if call.params.get("predefinedAcl") and bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"]:
        raise errors.invalid(
            "Cannot insert legacy ACL for an object when uniform bucket-level access is enabled. "
            "Read more at https://cloud.google.com/storage/docs/uniform-bucket-level-access"
        )
    if old:
        require(call, "storage.objects.delete", bucket)
        check_held(old)


def store(call: Call, bucket: Json, name: str, fields: Json, path: Path) -> Json:
    """Make the file the live version of an object, if it has the checksums that the request says."""
    content = shelf.measure(path)
    _check_sums(call, fields, content)
    row = shelf.place(call.world, bucket, name, fields, content)
    return shown(call, bucket, row)


def _check_sums(call: Call, fields: Json, content: shelf.Content) -> None:
    """Raise 400 unless the bytes have the checksums that the client says, in metadata or in X-Goog-Hash."""
    said = dict(part.strip().split("=", 1) for part in call.headers.get("x-goog-hash", "").split(",") if "=" in part)
    for label, want, have in (
        ("CRC32C", fields.get("crc32c") or said.get("crc32c"), content.crc32c),
        ("MD5 hash", fields.get("md5Hash") or said.get("md5"), content.md5),
    ):
        if want and want != have:
            raise errors.invalid(f'Provided {label} "{want}" doesn\'t match calculated {label} "{have}".')


# -- resumable
def _begin(call: Call, bucket: Json, name: str, fields: Json) -> Reply:
    session = call.world.hex(80)
    kind = call.headers.get("x-upload-content-type")
    if kind:
        fields.setdefault("contentType", kind)
    length = call.headers.get("x-upload-content-length")
    conditions = {k: v for k, v in call.params.items() if k.startswith("if")}
    call.world.table("storage.uploads")[session] = {
        "bucket": bucket["name"],
        "name": name,
        "fields": fields,
        "conditions": conditions,
        "size": 0,
        "total": int(length) if length and length.isdigit() else None,
        "state": "open",
    }
    query = {"uploadType": "resumable", "name": name, "upload_id": session}
    location = f"{call.base}/{call.host}/{call.path}?{urlencode(query)}"
    return Reply(headers=NO_CACHE | {"location": location, "x-guploader-uploadid": session}, text="")


def _go_on(call: Call, bucket: Json, session: str) -> Json | Reply:
    uploads = call.world.table("storage.uploads")
    upload = uploads.get(session)
    if upload is None or upload["bucket"] != bucket["name"]:
        raise errors.not_found("Upload session not found. It may have expired: start the upload again.")
    if upload["state"] == "cancelled" or call.http == "DELETE":
        uploads[session] = upload | {"state": "cancelled"}
        _path(call, session).unlink(missing_ok=True)
        return Reply(status=499, headers=NO_CACHE, text="")
    if upload["state"] == "done":
        row = shelf.find(call.world, bucket["name"], upload["name"], upload["generation"])
        return shown(call, bucket, row) if row else Reply(status=410, text="")
    if _take(call, session, upload):
        admit(call, bucket, upload["name"], upload["conditions"])
        answer = store(call, bucket, upload["name"], upload["fields"], _path(call, session))
        uploads[session] = upload | {"state": "done", "generation": answer["generation"]}
        return answer
    uploads[session] = upload
    kept = {"range": f"bytes=0-{upload['size'] - 1}"} if upload["size"] else {}
    return Reply(status=308, headers=NO_CACHE | kept | {"x-guploader-uploadid": session}, text="")


def _path(call: Call, session: str) -> Path:
    return call.world.data / "uploads" / session


def _take(call: Call, session: str, upload: Json) -> bool:
    """Add a request's bytes to what a session has, and say whether that is all of the object."""
    path = _path(call, session)
    path.parent.mkdir(exist_ok=True)
    sent = call.media.stat().st_size if call.media else 0
    first, total = _content_range(call, upload, sent)
    if total is not None:
        upload["total"] = total
    if first is not None and first > upload["size"]:
        raise errors.invalid(
            f"Invalid request.  According to the Content-Range header, the upload offset is {first} byte(s), which "
            f"exceeds already uploaded size of {upload['size']} byte(s)."
        )
    with path.open("ab") as file:
        file.truncate(upload["size"])  # a request that failed may have left more
    if first is not None and call.media is not None:
        skip = upload["size"] - first
        last = total is not None and first + sent >= total
        keep = max(0, sent - skip)
        if not last:
            keep -= (upload["size"] + keep) % _QUANTUM
        if keep > 0:
            _append(call.media, skip, keep, path, fresh=upload["size"] == 0)
            upload["size"] += keep
    if total is not None and upload["size"] > total:
        raise errors.invalid("Invalid request.  There were more bytes than the Content-Range header says.")
    return total is not None and upload["size"] == total


def _append(source: Path, skip: int, keep: int, path: Path, *, fresh: bool) -> None:
    if fresh and skip == 0 and keep == source.stat().st_size:
        source.replace(path)
        return
    with source.open("rb") as media, path.open("ab") as file:
        media.seek(skip)
        while keep > 0 and (block := media.read(min(keep, 1 << 20))):
            file.write(block)
            keep -= len(block)


def _content_range(call: Call, upload: Json, sent: int) -> tuple[int | None, int | None]:
    """First byte that a request brings (None: it only asks), and the object's size (None while it is unknown)."""
    header = call.headers.get("content-range")
    if header is None:  # the whole object in one PUT
        return 0, sent
    found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", header)
    if found is None:
        raise errors.invalid("Failed to parse Content-Range header.")
    first, last, size = found.groups()
    total = None if size == "*" else int(size)
    if first is None:
        return None, total
    if int(last) - int(first) + 1 != sent:
        raise errors.invalid(
            "Invalid request.  The number of bytes uploaded is not what the Content-Range header says."
        )
    if upload["total"] is not None and total is not None and upload["total"] != total:
        raise errors.invalid("Invalid request.  The Content-Range header names another size than the upload's.")
    return int(first), total
