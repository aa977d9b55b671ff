"""Objects of Cloud Storage made of others: copied, rewritten, moved, composed.

https://cloud.google.com/storage/docs/copying-renaming-moving-objects, https://cloud.google.com/storage/docs/composite-objects
"""

from provision.emulator import errors
from provision.emulator.api import Call, Json
from provision.emulator.apis import storage_shelf as shelf
from provision.emulator.apis.storage_objects import object_of, open_bucket, shown
from provision.emulator.apis.storage_rules import (
    check_conditions,
    check_object_name,
    no_such_object,
    require,
    storage,
)

_MOST_SOURCES = 32


@storage("storage.objects.rewrite", "storage.objects.get")
def rewrite(call: Call) -> Json:
    """Copy an object, with the metadata of the body if there is one, else with its own; done in one call here."""
    resource = _copy(call)
    size = resource["size"]
    return {
        "kind": "storage#rewriteResponse",
        "totalBytesRewritten": size,
        "objectSize": size,
        "done": True,
        "resource": resource,
    }


@storage("storage.objects.copy", "storage.objects.get")
def copy(call: Call) -> Json:
    """The older form of the same."""
    return _copy(call)


@storage("storage.objects.move", "storage.objects.get")
def move(call: Call) -> Json:
    """Rename an object within its bucket; the old name keeps no version."""
    bucket, name = open_bucket(call), str(call.params["destinationObject"])
    source = object_of(call, bucket, "sourceObject")
    check_conditions(call.params, source, "ifSource")
    _admit(call, bucket, name)
    require(call, "storage.objects.delete", bucket)
    row = shelf.place_copy(call.world, bucket, name, source, source)
    shelf.erase(call.world, bucket, source)
    return shown(call, bucket, row)


@storage("storage.objects.compose", "storage.objects.create")
def compose(call: Call) -> Json:
    """Write an object that is up to 32 others of its bucket in a row; it has no MD5."""
    bucket, name = open_bucket(call, "destinationBucket"), str(call.params["destinationObject"])
    sources = call.body.get("sourceObjects") or []
    if not 1 <= len(sources) <= _MOST_SOURCES:
        many = f"The number of source components provided ({len(sources)})"
        raise errors.invalid(f"{many} must be between 1 and {_MOST_SOURCES}.")
    require(call, "storage.objects.get", bucket)
    rows = [_component(call, bucket, source) for source in sources]
    _admit(call, bucket, name)
    joined = call.world.spool / f"compose-{call.world.hex(24)}"
    try:
        with joined.open("wb") as file:
            for row in rows:
                file.writelines(shelf.blocks(shelf.bytes_path(call.world, row["generation"])))
        whole = shelf.measure(joined)
        fields = dict(call.body.get("destination") or {})
        fields["componentCount"] = sum(row.get("componentCount", 1) for row in rows)
        content = shelf.Content(joined, whole.size, whole.crc32c, None)
        made = shelf.place(call.world, bucket, name, fields, content)
    finally:
        joined.unlink(missing_ok=True)
    if call.body.get("deleteSourceObjects"):
        for row in rows:
            if row["name"] != name:
                shelf.erase(call.world, bucket, row)
    return shown(call, bucket, made)


def _component(call: Call, bucket: Json, source: Json) -> Json:
    row = shelf.find(call.world, bucket["name"], str(source.get("name") or ""), source.get("generation"))
    if row is None:
        raise no_such_object(call, bucket, str(source.get("name")))
    check_conditions(source.get("objectPreconditions") or {}, row)
    return row


def _copy(call: Call) -> Json:
    origin = open_bucket(call, "sourceBucket")
    bucket, name = open_bucket(call, "destinationBucket"), str(call.params["destinationObject"])
    source = object_of(call, origin, "sourceObject", "sourceGeneration")
    check_conditions(call.params, source, "ifSource")
    require(call, "storage.objects.create", bucket)
    _admit(call, bucket, name)
    # metadata that is sent is the whole of the copy's; holds are never copied, the class is the bucket's unless said
    own = {k: v for k, v in source.items() if k not in ("temporaryHold", "eventBasedHold", "storageClass")}
    fields = call.body or own
    if "componentCount" in source:
        fields = fields | {"componentCount": source["componentCount"]}
    return shown(call, bucket, shelf.place_copy(call.world, bucket, name, fields, source))


def _admit(call: Call, bucket: Json, name: str) -> None:
    check_object_name(name)
    old = shelf.live(call.world, bucket["name"], name)
    check_conditions(call.params, old)
    if old:
        require(call, "storage.objects.delete", bucket)
