"""nginx's configuration: its templates, and what fills them in."""
