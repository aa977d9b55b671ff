"""What a build does: fetches its source, builds images from Dockerfiles, pushes them.

There are no containers here. An image is the folder that its Dockerfile lies in, kept under the hash of its files; that
hash is its digest. Steps of other builders than Docker's do nothing, and the log says so.
"""

import hashlib
import re
import shutil
import tarfile
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from provision.emulator.api import Json
from provision.emulator.apis import artifactregistry_images as images
from provision.emulator.apis import logging
from provision.emulator.apis import storage_shelf as shelf
from provision.emulator.apis.storage_rules import bucket_path
from provision.emulator.clock import parse, stamp
from provision.emulator.world import World

_DOCKER = re.compile(r"(gcr\.io/cloud-builders/docker|docker(\.io/library/docker)?)(:.*)?")


class BuildFailure(Exception):
    """Ends a build: which kind of failure it is, and what went wrong."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class Workshop:
    """One build at work: its source folder, the images built so far by address, and its log."""

    def __init__(self, world: World, build: Json) -> None:
        self.world = world
        self.build = build
        self.project = world.project(build["projectId"])
        self.member = f"serviceAccount:{account_of(build, self.project)}"
        self.folder = world.spool / f"build-{build['id']}"
        self.built: dict[str, tuple[str, int]] = {}
        self.pushed: list[Json] = []
        self._logs = self.build["options"]["logging"] != "NONE" and self._may_log()

    def log(self, text: str, *, error: bool = False, step: str = "") -> None:
        """Write a line to Cloud Logging, where `logging.entries.list` finds it."""
        if not self._logs:
            return
        project, build_id = self.build["projectId"], self.build["id"]
        labels = {"build_id": build_id, "build_trigger_id": "", "project_id": project}
        payload = {"textPayload": text, "labels": {"build_step": step or "MAIN"}}
        severity = "ERROR" if error else "INFO"
        logging.record(self.world, project, "cloudbuild", {"type": "build", "labels": labels}, payload, severity)

    def may(self, permission: str, resource: str) -> bool:
        """Whether the build's account has a permission on a resource."""
        return self.world.allowed(self.member, permission, resource)

    def _may_log(self) -> bool:
        allowed = self.may("logging.logEntries.create", f"projects/{self.build['projectId']}")
        if not allowed and "serviceAccount" in self.build:
            who = self.build["serviceAccount"]
            text = (
                f"The service account '{who}' does not have permission to write logs to Cloud Logging. To fix this, "
                "grant the Logs Writer (roles/logging.logWriter) role to the service account."
            )
            self.build["warnings"] = [{"text": text, "priority": "WARNING"}]
        return allowed or "serviceAccount" not in self.build


def run(world: World, build: Json) -> None:
    """Do what a build says, and write into it how it went: status, results, timing, failureInfo."""
    begun = parse(build["createTime"])
    build["startTime"] = stamp(begun, 9)
    shop = Workshop(world, build)
    shop.log(f'starting build "{build["id"]}"')
    try:
        _fetch(shop)
        for number, step in enumerate(build["steps"]):
            _step(shop, number, step)
        _push_all(shop)
    except BuildFailure as failure:
        build |= {
            "status": "FAILURE",
            "statusDetail": failure.detail,
            "failureInfo": {"type": failure.kind, "detail": failure.detail},
        }
        shop.log("ERROR", error=True)
        shop.log(f"ERROR: {failure.detail}", error=True)
    else:
        build["status"] = "SUCCESS"
        shop.log("DONE")
    finally:
        shutil.rmtree(shop.folder, ignore_errors=True)
    ended = max(world.clock.now(), begun + timedelta(milliseconds=1))
    build["finishTime"] = stamp(ended, 9)
    span = {"startTime": build["startTime"], "endTime": build["finishTime"]}
    build["timing"] = {phase: dict(span) for phase in ("FETCHSOURCE", "BUILD", "PUSH") if _has(build, phase)}
    builders = [f"sha256:{hashlib.sha256(step['name'].encode()).hexdigest()}" for step in build["steps"]]
    build["results"] = {"buildStepImages": builders, "buildStepOutputs": [""] * len(builders)}
    if shop.pushed:
        build["results"]["images"] = [image | {"pushTiming": dict(span)} for image in shop.pushed]
    for step in build["steps"]:
        step.update({"timing": dict(span), "pullTiming": dict(span)} if step.get("status") else {})


def account_of(build: Json, project: Json) -> str:
    """The address of the account that a build runs as."""
    own = str(build.get("serviceAccount") or "").rpartition("/")[2]
    return own or default_account(project)


def default_account(project: Json) -> str:
    """The account of builds that name none: https://cloud.google.com/build/docs/cloud-build-service-account-updates."""
    return f"{project['projectNumber']}-compute@developer.gserviceaccount.com"


def source_row(world: World, source: Json) -> Json | None:
    """The object that a storageSource names, or None when there is none."""
    return shelf.find(world, str(source.get("bucket")), str(source.get("object")), source.get("generation"))


def substitutions(build: Json, number: str, location: str) -> dict[str, str]:
    """What `$NAME` stands for in a build.

    https://cloud.google.com/build/docs/configuring-builds/substitute-variable-values
    """
    given = {str(k): str(v) for k, v in (build.get("substitutions") or {}).items()}
    return given | {
        "PROJECT_ID": build["projectId"],
        "PROJECT_NUMBER": number,
        "BUILD_ID": build["id"],
        "LOCATION": location,
    }


def substituted(value: Any, names: Mapping[str, str]) -> Any:  # any JSON
    """The same JSON with `$NAME` and `${NAME}` replaced in every text; `$$` is a dollar."""
    if isinstance(value, dict):
        return {k: substituted(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [substituted(v, names) for v in value]
    if not isinstance(value, str):
        return value

    def replaced(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else names.get(found[1] or found[2], found[0])

    return re.sub(r"\$\$|\$\{(\w+)\}|\$(\w+)", replaced, value)


def _has(build: Json, phase: str) -> bool:
    return phase == "BUILD" or {"FETCHSOURCE": "source", "PUSH": "images"}[phase] in build


# -- fetch
def _fetch(shop: Workshop) -> None:
    shop.folder.mkdir(parents=True, exist_ok=True)
    source = (shop.build.get("source") or {}).get("storageSource")
    if source is None:
        return
    shop.log("FETCHSOURCE")
    where = f"gs://{source['bucket']}/{source['object']}"
    shop.log(f"Fetching storage object: {where}")
    if not shop.may("storage.objects.get", bucket_path(source["bucket"])):
        who = shop.member.partition(":")[2]
        raise BuildFailure(
            "FETCH_SOURCE_FAILED",
            f"failed to fetch source {where}: {who} does not have storage.objects.get access to the Google Cloud "
            "Storage object. Permission 'storage.objects.get' denied on resource (or it may not exist).",
        )
    row = source_row(shop.world, source)
    if row is None:
        raise BuildFailure("FETCH_SOURCE_FAILED", f"failed to fetch source {where}: no such object")
    try:
        with tarfile.open(shelf.bytes_path(shop.world, row["generation"])) as archive:
            archive.extractall(shop.folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as problem:
        raise BuildFailure("FETCH_SOURCE_FAILED", f"failed to unpack {where}: {problem}") from problem


# -- steps
def _step(shop: Workshop, number: int, step: Json) -> None:
    label = f"Step #{number}" + (f' - "{step["id"]}"' if step.get("id") else "")
    shop.log(f"Starting {label}", step=label)
    try:
        if not _DOCKER.fullmatch(step["name"]) or step.get("entrypoint") or step.get("script"):
            shop.log(f"{label}: the emulator has no containers: {step['name']} was not run", step=label)
        else:
            _docker(shop, label, step)
    except BuildFailure as failure:
        step["status"], step["exitCode"] = "FAILURE", 1
        shop.log(f"{label}: {failure.detail}", error=True, step=label)
        detail = f'build step {number} "{step["name"]}" failed: step exited with non-zero status: 1: {failure.detail}'
        raise BuildFailure("USER_BUILD_STEP", detail) from failure
    step["status"] = "SUCCESS"
    shop.log(f"Finished {label}", step=label)


def _docker(shop: Workshop, label: str, step: Json) -> None:
    args = [str(a) for a in step.get("args") or []]
    if args[:1] == ["build"]:
        _build(shop, label, args[1:], str(step.get("dir") or ""))
    elif args[:1] == ["push"]:
        shop.pushed.append(_push(shop, args[-1]))
    elif args[:1] == ["tag"] and len(args) > 2 and args[1] in shop.built:
        shop.built[args[2]] = shop.built[args[1]]
    else:
        raise BuildFailure("USER_BUILD_STEP", f"docker {' '.join(args)}: not known to the emulator")


def _build(shop: Workshop, label: str, args: list[str], folder: str) -> None:
    tags, dockerfile, context = _build_options(args)
    root = shop.folder / folder.removeprefix("/workspace").lstrip("/") / context
    file = root / dockerfile
    if not file.is_file():
        raise BuildFailure(
            "USER_BUILD_STEP",
            "unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
            f"lstat /workspace/{dockerfile}: no such file or directory",
        )
    digest, size = _keep(shop.world, root, file)
    shop.log(f"{label}: Successfully built {digest[:12]}", step=label)
    for tag in tags:
        shop.built[tag] = digest, size
        shop.log(f"{label}: Successfully tagged {tag}", step=label)


def _build_options(args: list[str]) -> tuple[list[str], str, str]:
    """Tags, Dockerfile and context of a `docker build`."""
    tags: list[str] = []
    dockerfile, context, rest = "Dockerfile", ".", list(args)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word in ("-t", "--tag"):
            tags.append(value if equals else rest.pop(0) if rest else "")
        elif word in ("-f", "--file"):
            dockerfile = value if equals else rest.pop(0) if rest else ""
        elif word in ("--build-arg", "--target", "--platform", "--cache-from", "--label", "--network") and not equals:
            del rest[:1]
        elif not word.startswith("-"):
            context = word
    return tags, dockerfile, context


def _keep(world: World, root: Path, dockerfile: Path) -> tuple[str, int]:
    """Put the folder among the images, under the hash of its files. Returns hash and size in bytes."""
    whole, size = hashlib.sha256(), 0
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        content = hashlib.sha256()
        for block in shelf.blocks(path):
            content.update(block)
            size += len(block)
        whole.update(f"{path.relative_to(root)}\0{path.stat().st_mode & 0o111:o}\0{content.hexdigest()}\n".encode())
    whole.update(f"\0{dockerfile.relative_to(root)}".encode())
    target = world.data / "images" / whole.hexdigest()
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(root, fresh, symlinks=True)
        if dockerfile.name != "Dockerfile":  # whoever runs the image looks for that name
            shutil.copyfile(fresh / dockerfile.relative_to(root), fresh / "Dockerfile")
        fresh.rename(target)
    return whole.hexdigest(), size


# -- push
def _push_all(shop: Workshop) -> None:
    wanted = [str(name) for name in shop.build.get("images") or []]
    missing = [name for name in wanted if name not in shop.built]
    if missing:
        listed = " ".join(f'"{name}"' for name in missing)
        raise BuildFailure(
            "PUSH_IMAGE_NOT_FOUND", f"failed to find one or more images after execution of build steps: [{listed}]"
        )
    if wanted:
        shop.log("PUSH")
    for name in wanted:
        shop.log(f"Pushing {name}")
        shop.pushed.append(_push(shop, name))


def _push(shop: Workshop, name: str) -> Json:
    if name not in shop.built:
        raise BuildFailure("PUSH_IMAGE_NOT_FOUND", f"An image does not exist locally with the tag: {name}")
    to = images.address(name)
    if to is None:
        raise BuildFailure("PUSH_FAILED", f"failed to push {name}: the emulator has Artifact Registry only")
    if not shop.may("artifactregistry.repositories.uploadArtifacts", to.repository):
        raise BuildFailure(
            "PUSH_NOT_AUTHORIZED",
            f'failed to push {name}: denied: Permission "artifactregistry.repositories.uploadArtifacts" denied on '
            f'resource "{to.repository}" (or it may not exist)',
        )
    if to.repository not in shop.world.table("artifactregistry.repositories"):
        repository = to.repository.rpartition("/")[2]
        raise BuildFailure("PUSH_FAILED", f'failed to push {name}: name unknown: Repository "{repository}" not found')
    digest, size = shop.built[name]
    images.push(shop.world, to, f"sha256:{digest}", size)
    return {"name": name, "digest": f"sha256:{digest}"}
