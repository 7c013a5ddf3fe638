"""Other clients' names over this one, so that their guides run with only the import line changed."""
