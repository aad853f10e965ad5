"""The page of a gate. Its script sends the DOOR_TOKEN with each call of the API; the page itself
has nothing secret, and no cookie."""

import msgspec
from flask import Response
from werkzeug.exceptions import NotFound

from web.pages.blueprint import pages
from web.pages.rendering import HEADERS, page
from web.services import services

CAMERA = HEADERS["Permissions-Policy"].replace("camera=()", "camera=(self)")


@pages.get("/door/<event_id>")
def show_door(event_id: str) -> Response:
    if not services().settings.door_token:
        raise NotFound
    event = services().box_office.event_to_name(event_id)
    sections = {
        section.id: {"name": section.name, "general": section.kind == "general"}
        for section in event.sections
    }
    response = page(
        "door.html",
        event=event,
        keys=services().codes.keys.public_keys(),
        sections=msgspec.json.encode(sections).decode(),
    )
    response.headers["Permissions-Policy"] = CAMERA
    return response
