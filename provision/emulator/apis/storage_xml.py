"""The XML API of Cloud Storage, as far as links to objects lead there: reading, writing, and uploads in parts.

https://cloud.google.com/storage/docs/xml-api/overview. Nobody is taken for the owner here: a link that has lost its
signature is a stranger's.
"""

from collections.abc import Callable

from provision.emulator import tokens
from provision.emulator.api import Call, Json, Reply, endpoint
from provision.emulator.apis import storage_multipart as multipart
from provision.emulator.apis.storage_objects import download, object_of, open_bucket
from provision.emulator.apis.storage_rules import NotModified, check_object_name, require, xml_error
from provision.emulator.apis.storage_signatures import is_signed, signer
from provision.emulator.apis.storage_uploads import admit, store
from provision.emulator.errors import GoogleError, unimplemented

_CODES = {
    401: "AuthenticationRequired",
    403: "AccessDenied",
    404: "NoSuchKey",
    412: "PreconditionFailed",
    416: "InvalidRange",
    501: "NotImplemented",
}

Behaviour = Callable[[Call, Json], Reply]


def _serve(http: str, name: str) -> Callable[[Behaviour], Behaviour]:
    """Register what answers `http` at the address of an object."""

    def register(function: Behaviour) -> Behaviour:
        def answered(call: Call) -> Reply:
            try:
                call.caller = signer(call) if is_signed(call) else _member(call)
                return function(call, _bucket(call))
            except NotModified:
                return Reply(status=304)
            except GoogleError as problem:
                if problem.family == "xml":
                    raise
                code = _CODES.get(problem.code, "InvalidArgument")
                raise xml_error(problem.code, code, problem.message) from problem

        endpoint(f"storage.xml.{name}", http, "storage.googleapis.com/{bucket}/{+object}", raw=True)(answered)
        return function

    return register


@_serve("HEAD", "head")
@_serve("GET", "get")
def get(call: Call, bucket: Json) -> Reply:
    """The bytes of an object, or with uploadId the parts that an upload has."""
    if "uploadId" in call.params:
        return multipart.list_parts(call, bucket)
    require(call, "storage.objects.get", bucket)
    return download(call, object_of(call, bucket))


@_serve("PUT", "put")
def put(call: Call, bucket: Json) -> Reply:
    """Store an object, or with uploadId one part of it."""
    if "uploadId" in call.params:
        return multipart.put_part(call, bucket)
    require(call, "storage.objects.create", bucket)
    assert call.media is not None
    name = str(call.params["object"])
    check_object_name(name)
    admit(call, bucket, name, {})
    row = store(call, bucket, name, multipart.described(call), call.media)
    return Reply(headers={"etag": row["etag"], "x-goog-generation": row["generation"]}, text="")


@_serve("POST", "post")
def post(call: Call, bucket: Json) -> Reply:
    """Begin an upload in parts, or with uploadId make the object of them."""
    if "uploads" in call.params:
        check_object_name(str(call.params["object"]))
        return multipart.initiate(call, bucket)
    if "uploadId" in call.params:
        return multipart.complete(call, bucket)
    raise unimplemented("storage.xml.post")


@_serve("DELETE", "delete")
def delete(call: Call, bucket: Json) -> Reply:
    """Give up an upload in parts."""
    if "uploadId" in call.params:
        return multipart.abort(call, bucket)
    raise unimplemented("storage.xml.delete")


def _member(call: Call) -> str:
    """Whose token it is; without one nobody's."""
    given = call.headers.get("authorization")
    return tokens.member_of(call.world, given) if given else "allUsers"


def _bucket(call: Call) -> Json:
    try:
        return open_bucket(call)
    except GoogleError as problem:
        if problem.code == 404:
            raise xml_error(404, "NoSuchBucket", "The specified bucket does not exist.") from problem
        raise
