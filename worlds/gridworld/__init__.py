"""The environment, its trainer and the generator of the demonstration library."""
