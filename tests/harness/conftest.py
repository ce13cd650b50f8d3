"""Leaves the scripted models to the harnesses' own environments: this one cannot import them."""

collect_ignore_glob = ["scripted_*.py"]
