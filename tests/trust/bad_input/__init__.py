"""What the public functions do with bad input, one generated mutation of one argument at a time."""
