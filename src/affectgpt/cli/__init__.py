"""The command ``affectgpt``: one file a verb."""
