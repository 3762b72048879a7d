"""Matches findings of readers and algorithms in images with later outcomes, counts the matches and writes them."""
