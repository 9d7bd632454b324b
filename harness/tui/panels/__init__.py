"""What each part of the screen shows: pure functions from a moment and a size to text."""
