"""Ways of doing the same work: programs that take a job as one JSON argument and print one line of JSON.

Those that run in another environment (atldld, AllenSDK) import nothing but the standard library, their own package
and the modules `job` and `meter`, which Python 3.11 can read.
"""
