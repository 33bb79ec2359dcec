"""What a candidate needs of the user's program, as text and plain data that go in, and what comes back."""
