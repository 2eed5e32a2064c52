"""What developers run: nothing of it is part of a stage or of the library."""
