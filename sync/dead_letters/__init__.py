"""Dead letters as operators see them: queries and actions."""
