"""The server of pages and API: what people see, and what programs ask."""
