"""Objects as Cloud Storage keeps them: live and noncurrent versions, and their bytes on disk.

A version's bytes never change, so a copy is a hard link. Bytes of versions that are gone are unlinked by a later
request: had their own request been rolled back, they would still be needed.
"""

import base64
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

from provision.emulator.api import Json
from provision.emulator.apis.storage_rules import check_held, check_retained
from provision.emulator.world import World

_BLOCK = 1 << 20
# What writers may say of an object; the rest is the server's.
WRITABLE = (
    "cacheControl",
    "contentDisposition",
    "contentEncoding",
    "contentLanguage",
    "contentType",
    "customTime",
    "eventBasedHold",
    "metadata",
    "storageClass",
    "temporaryHold",
)


@dataclass(frozen=True)
class Content:
    """Bytes on disk with their size and checksums in base64; composite objects have no MD5."""

    path: Path
    size: int
    crc32c: str
    md5: str | None


def measure(path: Path) -> Content:
    """Read a file once, in pieces, for its size and checksums."""
    crc, md5, size = 0, hashlib.md5(usedforsecurity=False), 0
    for block in blocks(path):
        crc = google_crc32c.extend(crc, block)
        md5.update(block)
        size += len(block)
    return Content(path, size, base64.b64encode(crc.to_bytes(4)).decode(), base64.b64encode(md5.digest()).decode())


def blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file in pieces of a megabyte."""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def content_of(world: World, row: Json) -> Content:
    """The bytes of a stored version."""
    return Content(bytes_path(world, row["generation"]), int(row["size"]), row["crc32c"], row.get("md5Hash"))


def bytes_path(world: World, generation: str) -> Path:
    """Where the bytes of a generation lie: generations are unique over all buckets."""
    return world.data / "objects" / generation[-2:] / generation


def live(world: World, bucket: str, name: str) -> Json | None:
    """The live version of an object."""
    return world.table("storage.objects").get(f"{bucket}/{name}")


def find(world: World, bucket: str, name: str, generation: object | None) -> Json | None:
    """One version of an object, the live one without a generation."""
    row = live(world, bucket, name)
    if generation is None or (row and row["generation"] == str(generation)):
        return row
    return world.table("storage.noncurrent").get(f"{bucket}/{name}\n{generation}")


def live_under(world: World, bucket: str, prefix: str = "") -> list[Json]:
    """Live objects whose name begins with `prefix`, by name."""
    return [row for _, row in world.table("storage.objects").under(f"{bucket}/{prefix}")]


def noncurrent_under(world: World, bucket: str, prefix: str = "") -> list[Json]:
    """Noncurrent versions of objects whose name begins with `prefix`."""
    return [row for _, row in world.table("storage.noncurrent").under(f"{bucket}/{prefix}")]


def is_empty(world: World, bucket: str) -> bool:
    """Whether nothing is in a bucket, noncurrent versions included."""
    return not live_under(world, bucket) and not noncurrent_under(world, bucket)


def place(world: World, bucket: Json, name: str, fields: Json, content: Content) -> Json:
    """Make `content` the live version of an object, what was live becoming noncurrent or nothing. The file is moved.

    Raises 403 when a hold or the retention policy keeps what is there.
    """
    old = live(world, bucket["name"], name)
    if old:
        retire(world, bucket, old)
    generation = _next_generation(world)
    now = world.timestamp()
    row: Json = {k: fields[k] for k in WRITABLE if fields.get(k) not in (None, {})}
    row |= {
        "name": name,
        "bucket": bucket["name"],
        "generation": generation,
        "metageneration": "1",
        "storageClass": fields.get("storageClass") or bucket["storageClass"],
        "size": str(content.size),
        "crc32c": content.crc32c,
        "timeCreated": now,
        "updated": now,
        "timeStorageClassUpdated": now,
        "timeFinalized": now,
    }
    if content.md5:
        row["md5Hash"] = content.md5
    if "componentCount" in fields:
        row["componentCount"] = fields["componentCount"]
    if bucket.get("defaultEventBasedHold") and "eventBasedHold" not in fields:
        row["eventBasedHold"] = True
    path = bytes_path(world, generation)
    path.parent.mkdir(parents=True, exist_ok=True)
    content.path.replace(path)
    world.table("storage.objects")[f"{bucket['name']}/{name}"] = row
    return row


def place_copy(world: World, bucket: Json, name: str, fields: Json, source: Json) -> Json:
    """The same with the bytes of a version that stays where it is."""
    content = content_of(world, source)
    link = world.spool / f"copy-{source['generation']}"
    link.unlink(missing_ok=True)
    os.link(content.path, link)
    return place(world, bucket, name, fields, Content(link, content.size, content.crc32c, content.md5))


def retire(world: World, bucket: Json, row: Json) -> None:
    """Take the live version away; a bucket with versioning keeps it as noncurrent. Raises 403 when it is held."""
    check_held(row)
    key = f"{row['bucket']}/{row['name']}"
    if bucket.get("versioning", {}).get("enabled"):
        del world.table("storage.objects")[key]
        world.table("storage.noncurrent")[f"{key}\n{row['generation']}"] = row | {"timeDeleted": world.timestamp()}
    else:
        erase(world, bucket, row)


def erase(world: World, bucket: Json, row: Json) -> None:
    """Delete one version, live or noncurrent, for good. Raises 403 when it is held."""
    check_held(row)
    check_retained(world, bucket, row)
    key = f"{row['bucket']}/{row['name']}"
    if "timeDeleted" in row:
        del world.table("storage.noncurrent")[f"{key}\n{row['generation']}"]
    else:
        del world.table("storage.objects")[key]
    world.table("storage.litter")[row["generation"]] = {}


def save(world: World, row: Json) -> Json:
    """Write changed metadata of a version: metageneration and `updated` go up."""
    row["metageneration"] = str(int(row["metageneration"]) + 1)
    row["updated"] = world.timestamp()
    key = f"{row['bucket']}/{row['name']}"
    if "timeDeleted" in row:
        world.table("storage.noncurrent")[f"{key}\n{row['generation']}"] = row
    else:
        world.table("storage.objects")[key] = row
    return row


def parts_folder(world: World, upload: str) -> Path:
    """Where the parts of an upload in parts lie, each under its number."""
    return world.data / "parts" / upload


def forget_upload(world: World, upload: str) -> None:
    """Give an upload in parts up, and its parts with it."""
    parts = world.table("storage.parts")
    for key, _ in parts.under(f"{upload}/"):
        del parts[key]
    del world.table("storage.multiparts")[upload]
    shutil.rmtree(parts_folder(world, upload), ignore_errors=True)


def tidy(world: World) -> None:
    """Unlink the bytes of versions that earlier requests erased."""
    litter = world.table("storage.litter")
    for generation in litter:
        bytes_path(world, generation).unlink(missing_ok=True)
        del litter[generation]


def _next_generation(world: World) -> str:
    """Microseconds since 1970, one more when the clock has not moved."""
    last = int(world.settings.get("storage.generation", {"last": 0})["last"])
    value = max(int(world.clock.now().timestamp() * 1_000_000), last + 1)
    world.settings["storage.generation"] = {"last": value}
    return str(value)
