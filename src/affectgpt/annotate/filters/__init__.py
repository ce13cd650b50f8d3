"""Stages that decide which clips stay: by who speaks, by sound and length, and by a vote of classifiers."""
