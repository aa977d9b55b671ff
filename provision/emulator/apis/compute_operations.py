"""Operations of Compute Engine, global and regional: read, waited for, listed.

https://docs.cloud.google.com/compute/docs/reference/rest/v1/globalOperations
"""

from provision.emulator import operations
from provision.emulator.api import Call, Json, method
from provision.emulator.apis import compute_resources as resources


@method("compute.globalOperations.get", permission="compute.globalOperations.get")
@method("compute.regionOperations.get", permission="compute.regionOperations.get")
@method("compute.globalOperations.wait", permission="compute.globalOperations.get")
@method("compute.regionOperations.wait", permission="compute.regionOperations.get")
def get(call: Call) -> Json:
    """How an operation stands. `wait` answers at once, which its documentation allows: callers ask again."""
    return operations.read(call, "compute", f"{_scope(call)}/{call.params['operation']}")


@method("compute.globalOperations.list", permission="compute.globalOperations.list")
@method("compute.regionOperations.list", permission="compute.regionOperations.list")
def list_operations(call: Call) -> Json:
    """The operations of the scope, newest first."""
    scope = _scope(call)
    rows = operations.listed(call.world, "compute", f"{scope}/")
    return resources.listed(call, "operation", scope.split("/", 2)[2], rows)


def _scope(call: Call) -> str:
    region = call.params.get("region")
    place = f"regions/{region}" if region else "global"
    return f"projects/{call.project_id}/{place}/operations"
