"""The page of a gate: who gets it, and what its browser may do there."""

from tests.support.factories import put_on_sale, small_hall

TOKEN = "the-token-of-the-doors"


def test_only_the_door_may_use_the_camera(application, seats):
    put_on_sale(seats, hall := small_hall())
    http = application(DOOR_TOKEN=TOKEN)
    door = http.get(f"/door/{hall.id}")
    assert door.status_code == 200
    assert "camera=(self)," in door.headers["Permissions-Policy"]
    assert "Set-Cookie" not in door.headers
    assert TOKEN not in door.text
    others = ("/", "/basket", f"/events/{hall.id}")
    policies = [http.get(path).headers["Permissions-Policy"] for path in others]
    assert all("camera=()," in policy for policy in policies)


def test_without_a_token_in_the_settings_there_is_no_door(application, seats):
    put_on_sale(seats, hall := small_hall())
    assert application().get(f"/door/{hall.id}").status_code == 404
    assert application(DOOR_TOKEN=TOKEN).get("/door/never-announced").status_code == 404


def test_the_door_of_an_event_stays_while_redis_is_away(application, seats):
    put_on_sale(seats, hall := small_hall())
    http = application(DOOR_TOKEN=TOKEN)
    page = http.get(f"/door/{hall.id}").text
    keys = http.application.extensions["services"].codes.keys.public_keys()
    assert all(key in page for key in keys)
