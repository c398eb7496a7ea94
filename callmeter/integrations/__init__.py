"""Names that code written for other libraries imports."""
