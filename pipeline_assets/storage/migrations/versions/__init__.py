"""The revisions, each written out: they never read the tables of today's code."""
