"""The whole job on a corpus that the library draws itself."""
