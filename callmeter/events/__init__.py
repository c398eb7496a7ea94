"""What happened, as typed facts, and how they get to where they are wanted."""
