"""The panel as people use it: Debian's Chromium clicks on a panel that runs as a process."""
