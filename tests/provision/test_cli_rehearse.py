"""`rehearse`: the emulator of a folder shows habits of Google's to whoever wants to see them."""

import pytest

BUSY = "Somebody else's operation is at work on the application"


def test_all_are_listed_with_what_may_be_set(folder, cloud):
    """None is playing before somebody says so."""
    told = folder.type("rehearse")
    known = folder.type("rehearse", "--json").json["scenarios"]

    assert f"  app-busy,seconds=90.0  {BUSY}" in told.out
    assert "None is playing." in told.out
    assert {item["on"] for item in known} == {False}
    assert len(known) == len({item["name"] for item in known}) > 10


def test_some_play_until_they_are_ended(folder, cloud):
    """Each with its options; what plays outlives the command."""
    folder.type("rehearse", "app-busy,seconds=5", "apis-wake-late")
    told = folder.type("rehearse", "app-disabled")
    left = folder.type("rehearse", "--off", "app-busy", "--json").json["scenarios"]
    none = folder.type("rehearse", "--off")

    assert f"* app-busy,seconds=5.0  {BUSY}" in told.out
    assert "--off" in told.out
    assert [item["name"] for item in left] == ["apis-wake-late", "app-disabled"]
    assert none.out.strip() == "None is playing."


def test_before_the_first_command_of_all(folder, cloud):
    """The project is made first, so that what happens to projects can happen to it."""
    cloud.world.reset([])
    folder.type("rehearse", "no-organization")

    assert folder.type("up", "--local", code=5).err.count("NeedsCustomClient: ") == 1


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        pytest.param("app-bussy", "there is no scenario 'app-bussy'; did you mean: app-busy", id="no such name"),
        pytest.param("database-suspended,state=FOO", "state is one of FAILED,", id="no such state"),
        pytest.param("quota-used-up,metric=NOPE", "metric is one of CPUS,", id="no such quota"),
        pytest.param("app-elsewhere,location=mars", "location is one of asia-east1,", id="no such place"),
        pytest.param("app-busy,minutes=1", "has no option minutes; it has: seconds=90.0", id="no such option"),
        pytest.param("app-busy,seconds=soon", "seconds is a number such as 90.0", id="no such value"),
        pytest.param("app-busy,seconds=nan", "seconds is a number such as 90.0", id="no number at all"),
        pytest.param("app-busy,seconds=-5", "seconds is a number such as 90.0", id="a number below zero"),
        pytest.param("app-busy,seconds", "is not of the form NAME,OPTION=VALUE", id="an option without a value"),
    ],
)
def test_what_there_is_not(folder, cloud, typed, why):
    """Said with what there is, and nothing plays."""
    told = folder.type("rehearse", "apis-wake-late", typed, code=3)

    assert told.err.startswith("BadUsage: ")
    assert why in told.err
    assert "None is playing." in folder.type("rehearse").out


def test_what_plays_is_met_by_up(folder, cloud):
    """As it would be at Google."""
    folder.type("rehearse", "app-elsewhere,location=us-central")

    assert "WrongRegion: " in folder.type("up", "--local", code=5).err
