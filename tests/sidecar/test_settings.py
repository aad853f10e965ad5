"""Settings that cannot be read, and those of a kind that no message is written for."""

import msgspec
import pytest

from sidecar.settings import BadSettings, read_settings, settings_of


def test_an_env_file_that_cannot_be_read_is_a_bad_setting(monkeypatch, tmp_path):
    monkeypatch.setenv("ENV_FILE", str(tmp_path / "missing.env"))
    with pytest.raises(BadSettings, match=r"missing\.env: there is no such file"):
        read_settings()


def test_a_setting_that_is_neither_text_nor_number_needs_words_of_its_own():
    """For whoever adds one: without them its user would be shown msgspec's."""

    class WithASwitch(msgspec.Struct, rename="upper"):
        switch: bool = False

    with pytest.raises(TypeError, match="no number"):
        settings_of({"SWITCH": "perhaps"}, WithASwitch)
