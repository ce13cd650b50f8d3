"""Stages that say what is heard and seen in a clip, merge it into one description, and read labels out of it."""
