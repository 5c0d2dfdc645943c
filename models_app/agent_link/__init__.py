"""The panel's end of the agents' sockets: who may connect, what they report, what they are asked to do."""
