"""A gallery as a web page and a JSON interface."""
