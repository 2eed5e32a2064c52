"""The page and the JSON endpoint to try a model: FastAPI, an extra (requirements-serve.txt)."""
