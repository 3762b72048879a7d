"""Compares findings of readers and algorithms in images with later outcomes: matches, counts and writes them."""
