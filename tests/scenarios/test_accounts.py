"""Service accounts that are new, remade or forbidden."""


def test_01_an_account_that_was_just_made_is_not_known_everywhere(rehearsal, calm):
    """It is looked for again, its policy too, and nothing is made twice."""
    rehearsal.plays("new-accounts-flap", seconds=30)
    waited = rehearsal.up()

    assert waited < calm + 1.6 * 30 + 3
    assert rehearsal.called("iam.projects.serviceAccounts.create") == [200] * 3
    assert rehearsal.bare_retries() == []
    assert rehearsal.deployment.drift() == []
