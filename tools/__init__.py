"""Tools that the project is built and tested with."""
