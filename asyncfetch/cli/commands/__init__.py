"""The commands: plain functions, each module one or a few that belong together."""
