"""Pages for people: server-rendered HTML, forms that work without JavaScript, and the same use
cases as the API. ``docs/pages.md`` describes every route."""
