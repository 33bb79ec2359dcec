"""The user's program, as its text tells of it: what functions and classes are, use, and leave behind."""
