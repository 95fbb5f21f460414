"""The commands: parse, call, print. Nothing heavy is imported before the arguments are read."""
