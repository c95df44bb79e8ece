from __future__ import annotations

import json


def test_a_key_is_listed_and_revoked_and_listed_as_that(aegis, story):
    listed = json.loads(aegis("keys", "list", "state", "--json").out)["keys"]
    agent = listed[0]["agent"]
    assert listed[0]["allowed"] is True
    ended = aegis("keys", "revoke", "state", agent, "--reason", "it leaked")
    assert ended.code == 0
    assert f"of agent {agent} revoked" in ended.out
    assert "session  from record" in ended.out
    again = json.loads(aegis("keys", "list", "state", "--json").out)["keys"]
    assert [each["allowed"] for each in again if each["key_id"] == listed[0]["key_id"]] == [False]
    assert "revoked" in aegis("keys", "list", "state").out
    assert aegis("verify", "state", "--deep").code == 0


def test_an_agent_that_has_no_key_is_a_mistake_with_the_next_step(aegis, story):
    ended = aegis("keys", "revoke", "state", "nobody", "--reason", "x")
    assert ended.code != 0
    assert "no key of agent 'nobody' is allowed" in ended.err
    assert "aegis keys list state" in ended.err
