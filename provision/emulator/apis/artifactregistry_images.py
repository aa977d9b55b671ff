"""Images in Artifact Registry: packages, their versions by digest, and the tags that point to them.

https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.packages
"""

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from provision.emulator import errors, operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis.artifactregistry import EMPTY, not_found, registry, remove_under, repository_of, started
from provision.emulator.operations import OperationError
from provision.emulator.world import World

_REPOSITORIES = "artifactregistry.projects.locations.repositories"
_PACKAGES = f"{_REPOSITORIES}.packages"
_ADDRESS = re.compile(
    r"(?P<location>[a-z0-9-]+)-docker\.pkg\.dev/(?P<project>[^/]+(?:\.[^/]+)?)/(?P<repository>[^/]+)/"
    r"(?P<image>[^:@]+)(?::(?P<tag>[\w.-]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Address:
    """LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE[:TAG][@DIGEST], taken apart."""

    repository: str
    package: str
    tag: str | None
    digest: str | None


def address(text: str) -> Address | None:
    """An image's address, or None when it is not one of Artifact Registry."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    repository = f"projects/{found['project']}/locations/{found['location']}/repositories/{found['repository']}"
    return Address(repository, f"{repository}/packages/{quote(found['image'], safe='')}", found["tag"], found["digest"])


def push(world: World, to: Address, digest: str, size: int) -> None:
    """Put an image under a package, and the tag (or `latest`) on it. The repository must exist."""
    now = world.timestamp(6)
    packages, versions, tags = (world.table(f"artifactregistry.{kind}") for kind in ("packages", "versions", "tags"))
    packages[to.package] = {"name": to.package, "createTime": now} | packages.get(to.package, {}) | {"updateTime": now}
    name = f"{to.package}/versions/{digest}"
    metadata = {
        "name": _docker_name(name),
        "mediaType": _MANIFEST,
        "imageSizeBytes": str(size),
        "buildTime": now,
    }
    versions[name] = (
        {"name": name, "createTime": now, "metadata": metadata} | versions.get(name, {}) | {"updateTime": now}
    )
    tag = f"{to.package}/tags/{to.tag or 'latest'}"
    tags[tag] = {"name": tag, "version": name}


def resolve(world: World, image: Address) -> str | None:
    """The digest that an address stands for, or None when there is no such image."""
    digest = image.digest
    if digest is None:
        tag = world.table("artifactregistry.tags").get(f"{image.package}/tags/{image.tag or 'latest'}")
        digest = tag["version"].rpartition("/")[2] if tag else None
    return (
        digest if digest and f"{image.package}/versions/{digest}" in world.table("artifactregistry.versions") else None
    )


# -- packages
@method(f"{_PACKAGES}.list", permission="artifactregistry.packages.list")
def list_packages(call: Call) -> Json:
    """The packages of a repository."""
    return _listed(call, "packages")


@method(f"{_PACKAGES}.get", permission="artifactregistry.packages.get")
def get_package(call: Call) -> Json:
    """One package."""
    return _row(call, "packages")


@method(f"{_PACKAGES}.delete", permission="artifactregistry.packages.delete")
def delete_package(call: Call) -> Json:
    """Begin to delete a package with its versions and tags."""
    return started(call, f"{_PACKAGES}.delete", _row(call, "packages")["name"], {})


@operations.finish(f"{_PACKAGES}.delete")
def package_deleted(world: World, operation: Json) -> Json:
    """The package is gone."""
    name = operation["target"]
    if world.table("artifactregistry.packages").pop(name, None) is None:
        raise OperationError(5, "Requested entity was not found.")
    for kind in ("versions", "tags"):
        remove_under(world, kind, f"{name}/{kind}/")
    return EMPTY


# -- versions
@method(f"{_PACKAGES}.versions.list", permission="artifactregistry.versions.list")
def list_versions(call: Call) -> Json:
    """The versions of a package; the full view tells their tags."""
    rows = [_version(call, row) for row in _rows(call, "versions")]
    if str(call.params.get("orderBy") or "").startswith(("update_time", "updateTime")):
        rows.sort(key=lambda row: row["updateTime"], reverse="desc" in str(call.params["orderBy"]))
    return call.page(rows, "versions", 100)


@method(f"{_PACKAGES}.versions.get", permission="artifactregistry.versions.get")
def get_version(call: Call) -> Json:
    """One version; the full view tells its tags."""
    return _version(call, _row(call, "versions"))


@method(f"{_PACKAGES}.versions.delete", permission="artifactregistry.versions.delete")
def delete_version(call: Call) -> Json:
    """Begin to delete a version; one with tags only goes by force, and takes them with it."""
    name = _row(call, "versions")["name"]
    tags = _tags(call.world, name)
    if tags and not call.params.get("force"):
        raise errors.failed_precondition(
            f"cannot delete version {name.rpartition('/')[2]} because it is tagged. Existing tags are: "
            + ", ".join(tag.rpartition("/")[2] for tag in tags)
        )
    return started(call, f"{_PACKAGES}.versions.delete", name, {"names": [name]})


@method(f"{_PACKAGES}.versions.batchDelete", permission="artifactregistry.versions.delete")
def delete_versions(call: Call) -> Json:
    """Begin to delete several versions of a package with their tags."""
    names = [call.world.by_id(name) for name in call.body.get("names") or []]
    if any(name not in call.world.table("artifactregistry.versions") for name in names):
        raise not_found()
    return started(call, f"{_PACKAGES}.versions.delete", call.parent, {"names": names})


@operations.finish(f"{_PACKAGES}.versions.delete")
def versions_deleted(world: World, operation: Json) -> Json:
    """The versions and the tags on them are gone."""
    for name in operation["args"]["names"]:
        for tag in _tags(world, name):
            del world.table("artifactregistry.tags")[tag]
        world.table("artifactregistry.versions").pop(name, None)
    return EMPTY


# -- tags
@method(f"{_PACKAGES}.tags.list", permission="artifactregistry.tags.list")
def list_tags(call: Call) -> Json:
    """The tags of a package."""
    return _listed(call, "tags")


@method(f"{_PACKAGES}.tags.get", permission="artifactregistry.tags.get")
def get_tag(call: Call) -> Json:
    """One tag."""
    return _row(call, "tags")


@method(f"{_PACKAGES}.tags.create", permission="artifactregistry.tags.create")
def create_tag(call: Call) -> Json:
    """Put a new tag on a version."""
    name = f"{_name(call)}/tags/{call.params.get('tagId', '')}"
    if name in call.world.table("artifactregistry.tags"):
        raise errors.already_exists("the tag already exists")
    return _point(call, name)


@method(f"{_PACKAGES}.tags.patch", permission="artifactregistry.tags.update")
def move_tag(call: Call) -> Json:
    """Put a tag on another version."""
    return _point(call, _row(call, "tags")["name"])


@method(f"{_PACKAGES}.tags.delete", permission="artifactregistry.tags.delete")
def delete_tag(call: Call) -> Json:
    """Take a tag away; the version stays."""
    del call.world.table("artifactregistry.tags")[_row(call, "tags")["name"]]
    return {}


# -- Docker's view
@method(f"{_REPOSITORIES}.dockerImages.list", permission="artifactregistry.dockerimages.list")
def list_images(call: Call) -> Json:
    """The images of a repository, each version of each package one."""
    repository = repository_of(call)["name"]
    rows = call.world.table("artifactregistry.versions").under(f"{repository}/packages/")
    return call.page([_image(call.world, row) for _, row in rows], "dockerImages", 100)


@method(f"{_REPOSITORIES}.dockerImages.get", permission="artifactregistry.dockerimages.get")
def get_image(call: Call) -> Json:
    """One image, by IMAGE@DIGEST or IMAGE:TAG."""
    rest = call.name.partition("/dockerImages/")[2]
    found = address(f"{registry(repository_of(call)['name'])}/{unquote(rest)}")
    digest = resolve(call.world, found) if found else None
    if found is None or digest is None:
        raise not_found()
    return _image(call.world, call.world.table("artifactregistry.versions")[f"{found.package}/versions/{digest}"])


def _name(call: Call) -> str:
    """The name of a package or what is in it, with slashes of the image's name encoded as Google keeps them."""
    repository, _, rest = (call.name or call.parent).partition("/packages/")
    package, mark, inner = re.split(r"(/versions/|/tags/|$)", rest, maxsplit=1)
    return f"{repository}/packages/{quote(unquote(package), safe='')}{mark}{inner}"


def _row(call: Call, kind: str) -> Json:
    repository_of(call)
    row = call.world.table(f"artifactregistry.{kind}").get(_name(call))
    if row is None:
        raise not_found()
    return row


def _rows(call: Call, kind: str) -> list[Json]:
    repository_of(call)
    if kind != "packages" and _name(call) not in call.world.table("artifactregistry.packages"):
        raise not_found()
    parent = call.parent if kind == "packages" else _name(call)
    return [row for _, row in call.world.table(f"artifactregistry.{kind}").under(f"{parent}/{kind}/")]


def _listed(call: Call, kind: str) -> Json:
    return call.page(_rows(call, kind), kind, 100)


def _tags(world: World, version: str) -> list[str]:
    package = version.partition("/versions/")[0]
    rows = world.table("artifactregistry.tags").under(f"{package}/tags/")
    return [key for key, tag in rows if tag["version"] == version]


def _version(call: Call, row: Json) -> Json:
    if call.params.get("view") != "FULL":
        return row
    tags = [call.world.table("artifactregistry.tags")[tag] for tag in _tags(call.world, row["name"])]
    return row | ({"relatedTags": tags} if tags else {})


def _point(call: Call, name: str) -> Json:
    version = call.world.by_id(str(call.body.get("version") or ""))
    if version not in call.world.table("artifactregistry.versions"):
        raise not_found()
    tag = {"name": name, "version": version}
    call.world.table("artifactregistry.tags")[name] = tag
    return tag


def _docker_name(version: str) -> str:
    package, _, digest = version.partition("/versions/")
    repository, _, image = package.partition("/packages/")
    return f"{repository}/dockerImages/{image}@{digest}"


def _image(world: World, row: Json) -> Json:
    package, _, digest = row["name"].partition("/versions/")
    repository, _, image = package.partition("/packages/")
    tags = [tag.rpartition("/")[2] for tag in _tags(world, row["name"])]
    return {
        "name": _docker_name(row["name"]),
        "uri": f"{registry(repository)}/{unquote(image)}@{digest}",
        **({"tags": tags} if tags else {}),
        "imageSizeBytes": row["metadata"]["imageSizeBytes"],
        "uploadTime": row["createTime"],
        "mediaType": row["metadata"]["mediaType"],
        "buildTime": row["metadata"]["buildTime"],
        "updateTime": row["updateTime"],
    }
