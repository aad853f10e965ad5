"""nginx's configuration: the templates, and the code that fills them in."""
