"""Tools that make the parts which tests run on."""
