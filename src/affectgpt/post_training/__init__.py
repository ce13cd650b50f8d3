"""What comes after supervised training: learning from rewards and from preferences."""
