"""Ways of doing the same work. Each is a program that prints one line of JSON: seconds, CPU seconds, peak memory."""
