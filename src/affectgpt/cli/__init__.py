"""The command ``affectgpt``: one file per verb."""
