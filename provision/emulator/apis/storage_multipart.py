"""Uploads in parts, as the XML API of Cloud Storage takes them: begun, filled in any order, made an object or given up.

https://cloud.google.com/storage/docs/multipart-uploads; the limits are those of https://cloud.google.com/storage/quotas.
"""

import base64
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from provision.emulator.api import Call, Json, Reply
from provision.emulator.apis import storage_shelf as shelf
from provision.emulator.apis.storage_rules import object_etag, require, xml_error
from provision.emulator.apis.storage_uploads import admit

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_MOST_PARTS = 10_000
_LEAST_BYTES = 5 * 1024 * 1024  # of every part but the last
_PAGE = 1000
_DESCRIBING = {
    "cache-control": "cacheControl",
    "content-disposition": "contentDisposition",
    "content-encoding": "contentEncoding",
    "content-language": "contentLanguage",
    "content-type": "contentType",
    "x-goog-storage-class": "storageClass",
}
_CUSTOM = "x-goog-meta-"


def described(call: Call) -> Json:
    """What the headers of a request say of the object: https://cloud.google.com/storage/docs/xml-api/reference-headers."""
    fields: Json = {field: call.headers[name] for name, field in _DESCRIBING.items() if name in call.headers}
    custom = {name.removeprefix(_CUSTOM): value for name, value in call.headers.items() if name.startswith(_CUSTOM)}
    return fields | ({"metadata": custom} if custom else {})


def initiate(call: Call, bucket: Json) -> Reply:
    """Begin an upload: the answer is its id."""
    _require(call, bucket, "storage.multipartUploads.create", "storage.objects.create")
    upload, name = call.world.hex(80), str(call.params["object"])
    row = {"bucket": bucket["name"], "name": name, "fields": described(call), "begun": call.world.timestamp()}
    call.world.table("storage.multiparts")[upload] = row
    return _document("InitiateMultipartUploadResult", _of(row, upload))


def put_part(call: Call, bucket: Json) -> Reply:
    """Take one part, in place of any that had its number."""
    _require(call, bucket, "storage.multipartUploads.create", "storage.objects.create")
    upload, _ = _upload(call, bucket)
    number = _number(call.params.get("partNumber"))
    assert call.media is not None
    content = shelf.measure(call.media)
    assert content.md5 is not None
    hashes = {"crc32c": content.crc32c, "md5": content.md5}
    said = dict(part.strip().split("=", 1) for part in call.headers.get("x-goog-hash", "").split(",") if "=" in part)
    said |= {"md5": call.headers["content-md5"]} if "content-md5" in call.headers else {}
    if any(hashes.get(kind) != value for kind, value in said.items()):
        raise xml_error(400, "BadDigest", "The hash that you specified did not match what we received.")
    folder = shelf.parts_folder(call.world, upload)
    folder.mkdir(parents=True, exist_ok=True)
    call.media.replace(folder / str(number))
    etag = f'"{base64.b64decode(content.md5).hex()}"'
    row = {"number": number, "size": content.size, "etag": etag, "modified": call.world.timestamp()}
    call.world.table("storage.parts")[_key(upload, number)] = row
    return Reply(headers={"etag": etag, "x-goog-hash": f"crc32c={content.crc32c},md5={content.md5}"}, text="")


def complete(call: Call, bucket: Json) -> Reply:
    """Make the live version of the object out of the parts that the request names."""
    _require(call, bucket, "storage.multipartUploads.create", "storage.objects.create")
    upload, row = _upload(call, bucket)
    parts = [_part(call, upload, *said) for said in _named(call)]
    numbers = [part["number"] for part in parts]
    if numbers != sorted(set(numbers)):
        raise xml_error(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
    if any(part["size"] < _LEAST_BYTES for part in parts[:-1]):
        raise xml_error(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed object size.")
    admit(call, bucket, row["name"], {})
    whole = call.world.spool / upload
    _join([shelf.parts_folder(call.world, upload) / str(number) for number in numbers], whole)
    measured = shelf.measure(whole)
    content = shelf.Content(whole, measured.size, measured.crc32c, None)
    made = shelf.place(call.world, bucket, row["name"], row["fields"], content)
    shelf.forget_upload(call.world, upload)
    etag, place = f'"{object_etag(made)}"', f"{call.base}/{call.host}/{call.path}"
    headers = {"etag": etag, "x-goog-generation": made["generation"], "x-goog-hash": f"crc32c={made['crc32c']}"}
    return _document(
        "CompleteMultipartUploadResult", f"<Location>{escape(place)}</Location>{_of(row)}<ETag>{etag}</ETag>", headers
    )


def abort(call: Call, bucket: Json) -> Reply:
    """Give an upload up, and its parts with it."""
    _require(call, bucket, "storage.multipartUploads.abort")
    upload, _ = _upload(call, bucket)
    shelf.forget_upload(call.world, upload)
    return Reply(status=204)


def list_parts(call: Call, bucket: Json) -> Reply:
    """The parts that an upload has, by number and page by page."""
    _require(call, bucket, "storage.multipartUploads.listParts")
    upload, row = _upload(call, bucket)
    after, most = int(call.params.get("part-number-marker") or 0), int(call.params.get("max-parts") or _PAGE)
    parts = [part for _, part in call.world.table("storage.parts").under(f"{upload}/") if part["number"] > after]
    shown = parts[: min(most, _PAGE)]
    listed = "".join(
        f"<Part><PartNumber>{part['number']}</PartNumber><LastModified>{part['modified']}</LastModified>"
        f"<ETag>{part['etag']}</ETag><Size>{part['size']}</Size></Part>"
        for part in shown
    )
    more = f"<IsTruncated>{'true' if len(parts) > len(shown) else 'false'}</IsTruncated>"
    last = f"<NextPartNumberMarker>{shown[-1]['number'] if shown else after}</NextPartNumberMarker>"
    head = f"<PartNumberMarker>{after}</PartNumberMarker>{last}<MaxParts>{most}</MaxParts>{more}"
    return _document("ListPartsResult", _of(row, upload) + head + listed)


def _require(call: Call, bucket: Json, *permissions: str) -> None:
    """Raise 403 without one of them: https://cloud.google.com/storage/docs/access-control/iam-xml."""
    for permission in permissions:
        require(call, permission, bucket)


def _upload(call: Call, bucket: Json) -> tuple[str, Json]:
    upload = str(call.params["uploadId"])
    row = call.world.table("storage.multiparts").get(upload)
    if row is None or (row["bucket"], row["name"]) != (bucket["name"], call.params["object"]):
        raise xml_error(404, "NoSuchUpload", "The requested upload was not found.")
    return upload, row


def _number(text: object) -> int:
    if not str(text).isdecimal() or not 1 <= int(str(text)) <= _MOST_PARTS:
        raise xml_error(
            400, "InvalidArgument", f"Part number must be an integer between 1 and {_MOST_PARTS}, inclusive."
        )
    return int(str(text))


def _part(call: Call, upload: str, number: str, etag: str) -> Json:
    row = call.world.table("storage.parts").get(_key(upload, _number(number)))
    if row is None or row["etag"].strip('"') != etag.strip('"'):
        raise xml_error(400, "InvalidPart", "One or more of the specified parts could not be found.")
    return row


def _named(call: Call) -> list[tuple[str, str]]:
    """Number and ETag of each part in the body of a request to complete."""
    try:
        tree = ET.fromstring(call.media.read_bytes() if call.media else b"")  # noqa: S314  # of this machine
    except ET.ParseError as problem:
        raise xml_error(400, "MalformedXML", "The XML you provided was not well-formed.") from problem
    listed = [part for part in tree if part.tag.rpartition("}")[2] == "Part"]
    said = [{field.tag.rpartition("}")[2]: field.text or "" for field in part} for part in listed]
    if not said or not all({"PartNumber", "ETag"} <= part.keys() for part in said):
        raise xml_error(400, "MalformedXML", "The XML you provided does not name the parts.")
    return [(part["PartNumber"].strip(), part["ETag"].strip()) for part in said]


def _join(parts: list[Path], whole: Path) -> None:
    with whole.open("wb") as target:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target, 1 << 20)


def _key(upload: str, number: int) -> str:
    return f"{upload}/{number:05}"


def _of(row: Json, upload: str = "") -> str:
    """Which object it is about, and which upload."""
    which = f"<UploadId>{upload}</UploadId>" if upload else ""
    return f"<Bucket>{escape(row['bucket'])}</Bucket><Key>{escape(row['name'])}</Key>{which}"


def _document(root: str, content: str, headers: dict[str, str] | None = None) -> Reply:
    text = f"<?xml version='1.0' encoding='UTF-8'?><{root} xmlns='{_NAMESPACE}'>{content}</{root}>"
    return Reply(headers=headers or {}, text=text, media_type="application/xml; charset=UTF-8")
