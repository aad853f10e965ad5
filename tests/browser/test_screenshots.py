"""The gallery shows what there is. `make screenshots` makes it again."""

from tests.browser.screenshots import FOLDER, GALLERY, gallery, pictures

MAX_BYTES = 3_000_000
"""Everybody who clones the repository gets them, each time that they change."""


def test_the_gallery_has_a_picture_of_every_state_and_no_other():
    assert GALLERY.read_text() == gallery()
    taken = {path.name for path in FOLDER.iterdir()}
    assert taken == {file for file, _, _, _ in pictures()}
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < MAX_BYTES
