"""The requests and answers of the HTTP service. The client shares them, so they import pydantic only."""
