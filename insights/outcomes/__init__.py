"""What was said of images, by readers and by algorithms, beside what was found later: matched, counted and written."""
