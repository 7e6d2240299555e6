"""The benchmark harness: what each stage costs, and what a whole run costs beside other ways of doing it."""
