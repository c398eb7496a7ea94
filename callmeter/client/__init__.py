"""From a caller's arguments to an answer: what calls are made of, and how they are run."""
