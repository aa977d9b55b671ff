"""What can go wrong, one class per thing the user would do differently; each says what to type next.

Only the command line catches these. The exit code of each is the one that docs/reference/exit-codes.md promises. It is
one module because that page lists them together, and so are they compared when a new one is thought of.
"""

from collections.abc import Iterable


class ProvisionError(Exception):
    """An error that the user can act on: what happened and why is the message, what to do next is the hint.

    Lines to be pasted that the hint speaks of are its commands.
    """

    exit_code = 1
    hint = ""
    commands: tuple[str, ...] = ()

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint


# The user's input


class BadConfig(ProvisionError):
    """A setting is missing, unknown or has a value that cannot work; nothing was touched."""

    exit_code = 3
    hint = "Correct it in provision.toml; every setting is described in docs/reference/configuration.md."


class BadUsage(ProvisionError):
    """The command line asks for something that it cannot mean; nothing was touched."""

    exit_code = 3
    hint = "See python -m provision --help."


class NothingDeployed(ProvisionError):
    """There is no ledger where the command was told to look."""

    exit_code = 3
    hint = "Run python -m provision up first, or say where the ledger is with --project or --state."


# The state of the cloud


class NotOurs(ProvisionError):
    """Something is there under a name that we would use, and it does not carry our mark."""

    exit_code = 5
    hint = (
        "Choose another env or name in provision.toml, remove the thing yourself if nobody needs it,"
        " or take it over: python -m provision up --adopt REF."
    )


class Protected(ProvisionError):
    """Something that the settings protect would have to be deleted or replaced."""

    exit_code = 5
    hint = "Take its row out of protect in provision.toml and run python -m provision up, if it may go."


class WouldLoseData(ProvisionError):
    """Something that would have to be deleted, and was not said to go with it, holds data of the users."""

    exit_code = 5
    hint = "Move the data away, or take the resource down with python -m provision down --delete-data."


class WrongRegion(ProvisionError):
    """The project's App Engine application lies in another region, for ever."""

    exit_code = 5
    hint = "Set region in provision.toml to the application's region, or use another project."


class ApplicationDisabled(ProvisionError):
    """Somebody has switched the project's App Engine application off."""

    exit_code = 5
    hint = "Type gcloud app update --serving-status=SERVING, if it may serve again, then run the same command again."


class ProjectNotUsable(ProvisionError):
    """The project does not exist, is not visible to the caller, or is about to be deleted."""

    exit_code = 5
    hint = "Check the project id and that your account may see the project (resourcemanager.projects.get)."


class NetworkNotUsable(ProvisionError):
    """The network or the subnet that the settings name is not there, or not as it has to be; nothing was touched."""

    exit_code = 5
    hint = "Correct network.name, network.subnet or region in provision.toml, or leave both out to have a network made."


class StateBucketTaken(ProvisionError):
    """The bucket that would hold the ledger belongs to somebody else."""

    exit_code = 5
    hint = "Name another place for the ledger with --state gs://BUCKET/PREFIX."


class ApiDisabled(ProvisionError):
    """A Google API is off in the project, and waiting would not help."""

    exit_code = 5
    hint = "Run python -m provision up, which switches it on, or let somebody with the right to do so switch it on."


class QuotaProjectMissing(ApiDisabled):
    """The credentials name no project that pays for the calls, or one that is not the deployed one."""

    hint = (
        "Type gcloud auth application-default set-quota-project PROJECT, or export GOOGLE_CLOUD_QUOTA_PROJECT=PROJECT,"
        " with the deployed project; then run the same command again."
    )


class NoBilling(ProvisionError):
    """The project has no billing account, or one that is closed."""

    exit_code = 5
    hint = "Type gcloud billing projects link PROJECT --billing-account=ACCOUNT, then run the same command again."


class PolicyForbids(ProvisionError):
    """A policy of the organization does not allow what the settings ask for."""

    exit_code = 5
    hint = (
        "Change the setting that is named, or ask an administrator of the organization (roles/orgpolicy.policyAdmin)"
        " for an exception for the project."
    )


class NamesTheDeleted(ProvisionError):
    """A policy names an account that was deleted, not one of ours, and Google does not take the policy back."""

    exit_code = 5
    hint = (
        "Take the member that Google names out of the policy (gcloud projects remove-iam-policy-binding PROJECT"
        " --member=MEMBER --role=ROLE), then run the same command again."
    )


class NameTaken(ProvisionError):
    """A name that is Google-wide belongs to somebody else."""

    exit_code = 5
    hint = "Choose another env in provision.toml, then run the same command again."


class NameReserved(ProvisionError):
    """Google keeps the name of something that was deleted for a while."""

    exit_code = 5
    hint = "Run the same command again in a week, or choose another env in provision.toml."


class NeedsCustomClient(ProvisionError):
    """The front door needs an OAuth client of your own: Google's serves no project without an organization."""

    exit_code = 5
    hint = (
        "Make an OAuth client by hand: in the console, under Google Auth Platform, fill in Branding and Audience, then"
        " make a client of the type Web application; edit it to have the redirect URI"
        " https://iap.googleapis.com/v1/oauth/clientIds/CLIENT_ID:handleRedirect, with its own id for CLIENT_ID. Set"
        " door.client_id to that id and door.client_secret_file to a file with its secret in provision.toml, then run"
        " python -m provision up. See docs/how-to/let-outsiders-in.md."
    )


class NotSignedIn(ProvisionError):
    """There are no credentials for Google on this machine, or they have expired."""

    exit_code = 5
    hint = (
        "Sign in (gcloud auth application-default login), or let GOOGLE_APPLICATION_CREDENTIALS name a file of"
        " credentials; to try it without Google: python -m provision up --local."
    )


class NeedsAnAccount(ProvisionError):
    """The credentials are of an outside identity, which can neither sign for the clients' account nor pass the door."""

    exit_code = 5
    hint = (
        "Let it act as a service account: give it roles/iam.workloadIdentityUser on one, and make the file of"
        " credentials with gcloud iam workload-identity-pools create-cred-config PROVIDER --service-account=EMAIL."
    )


class QuotaExceeded(ProvisionError):
    """A quota of the project is used up; waiting would not help."""

    exit_code = 5
    hint = (
        "Ask for a higher quota in the console (IAM & Admin, Quotas) or free what uses it, then run the command again."
    )


class PermissionDenied(ProvisionError):
    """The caller lacks a permission."""

    exit_code = 5
    hint = "Ask an owner of the project for the missing role, then run the same command again."


class NotLetIn(ProvisionError):
    """Somebody was asked about who will not get in, or whose programs will not."""

    exit_code = 5
    hint = "Name them under access in provision.toml (users, groups or domains), then type python -m provision up."


# The run


class LockedByAnotherRun(ProvisionError):
    """Another run holds the lease of this deployment."""

    exit_code = 4
    hint = "Wait until it has ended, or give this command a longer --lock-timeout."


class LostTheLease(ProvisionError):
    """Another run has taken over while this one could not reach Cloud Storage; nothing more was changed."""

    exit_code = 4
    hint = "Look what the other run does (python -m provision status), then run the same command again."


class ChangedMeanwhile(ProvisionError):
    """Another run has changed the deployment after this one had shown what it would do; nothing was touched."""

    exit_code = 4
    hint = "Run the same command again: it shows what it would do by now."


class LedgerUnreadable(ProvisionError):
    """The ledger was written by a newer version of the program."""

    exit_code = 3
    hint = "Use the newest version of this program."


class LedgerDamaged(ProvisionError):
    """The ledger is cut off, is no JSON, or is not what was once saved.

    Args:
        message: What is wrong with it.
        last_good: The serial of the newest earlier one that can be read, None when there is none.
    """

    exit_code = 3
    hint = "Put an earlier one in its place: python -m provision state restore SERIAL; or make it anew: state rebuild."

    def __init__(self, message: str, *, last_good: int | None) -> None:
        super().__init__(message)
        self.last_good = last_good


class LedgerLost(LedgerDamaged):
    """The ledger is gone, but its history is there; to begin anew would forget all that is deployed.

    It is a damaged one of which no byte is left: what mends it is the same.
    """

    hint = "Put the newest of the history in its place: python -m provision state restore SERIAL; or state rebuild."


class StillDeployed(ProvisionError):
    """The ledger that was to be removed still knows of resources."""

    exit_code = 5
    hint = "Take them away first with python -m provision down."


class LedgerMoved(ProvisionError):
    """The ledger is in another place by now, and nothing was touched.

    Args:
        message: What has moved where.
        to: The place, as --state takes it.
    """

    exit_code = 3
    hint = "Type the same command with --state and the place where the ledger is now."

    def __init__(self, message: str, *, to: str) -> None:
        super().__init__(message)
        self.to = to


class OperationFailed(ProvisionError):
    """Google took the request and its long-running operation failed.

    Args:
        message: What the operation says of itself.
        code: A google.rpc code (4 deadline, 7 permission, 9 failed precondition, 13 internal) or an API's own word.
        service: Whose operation it was, such as ``sqladmin``.
    """

    hint = "Run the same command again; what was done already stays done."
    operation = ""
    """Its name, when it is known."""

    def __init__(self, message: str, *, code: int | str = "", service: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code, self.service = code, service

    def add(self, told: str) -> None:
        """Let the message say more."""
        self.args = (f"{self}\n{told}",)


class StillInUse(OperationFailed):
    """Something that is to go is still in use, perhaps by something at Google that lets go of it within hours or days.

    Args:
        message: What Google says of it.
    """

    exit_code = 6
    hint = "Run the same command again later."


class NotWaitedFor(ProvisionError):
    """Something that Google is at would never be ready, because something else has failed; it goes on at Google."""

    hint = "Run the same command again once what failed is mended."


class DidNotSettle(ProvisionError):
    """A change was accepted, and the field still shows another value after the documented time."""

    hint = "Run python -m provision drift in a few minutes; if it still differs, somebody else may be changing it."


class CannotChangeInPlace(ProvisionError):
    """A field differs that Google does not let anybody change on an existing resource."""

    exit_code = 5
    hint = "Put the setting back, or take the deployment down and up again."


class BeyondRepair(CannotChangeInPlace):
    """Something that was made does not work any more, and perhaps holds data, so nothing was done to it.

    Args:
        message: What is so.
        hint: What to do next.
        never_was: Whether Google says that its making failed, so that it holds nothing.
    """

    hint = "Look into it in the console; python -m provision up --replace REF makes another one."

    def __init__(self, message: str, *, hint: str = "", never_was: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.never_was = never_was


class SettingRefused(ProvisionError):
    """Google does not offer what a setting asks for."""

    exit_code = 5
    hint = "Change the setting that Google names in provision.toml, then run the same command again."


class GoogleRefused(ProvisionError):
    """Google answered with an error that neither waiting nor trying again would heal."""

    hint = "Read Google's words above; run the same command again once the cause is gone."


class NoAnswer(ProvisionError):
    """Google could not be reached, or kept answering that it is not available."""

    hint = "Check the network, then run the same command again."


class NotReachable(ProvisionError):
    """Everything is deployed, and the verification found a link broken between the front door and the bucket."""

    hint = (
        "python -m provision doctor tells whether something has stopped working, python -m provision drift whether it"
        " was changed. If neither has anything to say, run the same command again in a few minutes."
    )


class Interrupted(ProvisionError):
    """The user stopped the run; what had begun goes on at Google and is picked up by the next run."""

    exit_code = 130
    hint = "Run the same command again to go on."


class Defect(ProvisionError):
    """Something happened that nobody foresaw: the program is wrong."""

    hint = "Please report it with provision-crash.log; then run the same command again, nothing is lost."


class SeveralFailed(ProvisionError):
    """More than one independent row failed; all are told at once."""

    def __init__(self, errors: Iterable[ProvisionError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors), hint=self.errors[0].hint)
        self.exit_code = max(error.exit_code for error in self.errors)


# This machine


class FileTrouble(ProvisionError):
    """A file or folder of this machine cannot be read or written."""

    hint = "Make room or give yourself the right to it, then run the same command again."


class LocalFailed(ProvisionError):
    """The emulator on this machine could not be started or does not answer."""

    hint = "Look into .provision/emulator.log, then run the same command again."
