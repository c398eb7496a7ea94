"""Destinations. A sink only says what it wants and how to send it; reading, retrying and counting are the worker's."""
